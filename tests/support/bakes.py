"""Bakes that are made once and only read: tests copy what they change."""

from __future__ import annotations

import fcntl
from functools import cache
from typing import TYPE_CHECKING

from devtools import bake

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = bake.BUILD / "test-bakes"


@cache
def baked(preset: str, *more: str) -> Path:
    """Return a bake of a preset and more services, as the template is now.

    All processes of a test run share it, and so do later runs while the template stays the same.
    """
    services = ", ".join([bake.settings()["_presets"][preset], *more])
    folder = FOLDER / bake.fingerprint()[:16] / "-".join([preset, *more])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            bake.bake_as(folder, {"preset": preset, "services": services})
    return folder


def workers() -> Path:
    """Return the bake that tests of jobs, workers and measures copy."""
    return baked("workers", "monitoring")
