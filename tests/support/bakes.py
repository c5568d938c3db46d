"""Bakes that are made once and only read: tests copy what they change."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from devtools import bake

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = bake.BUILD / "test-bakes"


@cache
def baked(preset: str, *more: str) -> Path:
    """Return a bake of a preset and more services, as the template is now.

    All processes of a test run share it, and so do later runs while the template stays the same.
    """
    services = ", ".join([bake.settings()["_presets"][preset], *more])
    with made_once("-".join([preset, *more])) as folder:
        if not folder.is_dir():
            bake.bake_as(folder, {"preset": preset, "services": services})
    return folder


@contextmanager
def made_once(name: str) -> Iterator[Path]:
    """Yield the folder of something made from the template as it is now, under a lock."""
    folder = FOLDER / bake.fingerprint()[:16] / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@cache
def trained() -> Path:
    """Return the models that a stack's first start trains: that takes it most of its time."""
    source = baked("serving")
    with (
        made_once("models") as models,
        tempfile.TemporaryDirectory(dir=models.parent, prefix=".training-") as temporary,
    ):
        if not models.is_dir():
            copy = Path(shutil.copytree(source, f"{temporary}/repository"))
            database = f"sqlite:///{temporary}/app.db"
            ours = {"API_KEY": "k" * 20, "DATABASE_URL": database, "PYTHONPATH": "src"}
            for command in (["alembic", "upgrade", "head"], ["weather_forecast.prepare"]):
                subprocess.run(
                    [sys.executable, "-m", *command],
                    cwd=copy,
                    env=os.environ | ours,
                    check=True,
                    capture_output=True,
                )
            (copy / "models").rename(models)
    return models


def workers() -> Path:
    """Return the bake that tests of jobs, workers and measures copy."""
    return baked("workers", "monitoring")
