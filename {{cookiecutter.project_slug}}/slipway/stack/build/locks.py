"""The lock files: which packages, at which version, with which hashes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = {"requirements.in": "requirements.txt", "requirements-dev.in": "requirements-dev.txt"}
"""What is resolved; each image takes a part of the first, at the same versions."""
OLDEST_PYTHON = "3.11"


def image_locks(root: Path) -> dict[str, str]:
    """Return what the images of services hold, and the lock of each."""
    found = sorted(path.relative_to(root) for path in root.glob("services/*/*.in"))
    return {str(path): str(path.with_suffix(".txt")) for path in found}


def compile_commands(root: Path, *, upgrade: bool) -> dict[str, list[str]]:
    """Build the command that makes each lock, in the order in which they need each other."""
    whole = {
        target: compile_command(source, target, *(["--upgrade"] if upgrade else []))
        for source, target in WHOLE.items()
    }
    same = ("--constraint", "requirements.txt")
    return whole | {
        target: compile_command(source, target, *same)
        for source, target in image_locks(root).items()
    }


def compile_command(source: str, target: str, *more: str) -> list[str]:
    """Build the command that resolves `source` for every platform and Python into `target`.

    The command that made a lock is written into it, so it must not hold a path or an index.
    """
    options = ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--quiet"]
    options += ["--no-emit-index-url", "--no-emit-find-links"]
    options += ["--custom-compile-command", "inv deps.lock"]
    return [sys.executable, "-m", "uv", "pip", "compile", *options, *more, source, "-o", target]
