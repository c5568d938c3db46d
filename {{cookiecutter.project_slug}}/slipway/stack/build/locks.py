"""The lock files of Python packages, with versions and hashes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = {"requirements.in": "requirements.txt", "requirements-dev.in": "requirements-dev.txt"}
"""Resolved as a whole; each image takes a part of the first, at the same versions."""
OLDEST_PYTHON = "3.11"


def image_locks(root: Path) -> dict[str, str]:
    """Return the requirements of each service's image, and the lock file of each."""
    found = sorted(path.relative_to(root) for path in root.glob("services/*/*.in"))
    return {str(path): str(path.with_suffix(".txt")) for path in found}


def compile_commands(root: Path, *, upgrade: bool) -> dict[str, list[str]]:
    """Build the command that writes each lock file, in the order in which they need each other."""
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

    The command is written into the lock file, so it must not contain a path or an index.
    """
    options = ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--quiet"]
    options += ["--no-emit-index-url", "--no-emit-find-links"]
    options += ["--custom-compile-command", "inv deps.lock"]
    return [sys.executable, "-m", "uv", "pip", "compile", *options, *more, source, "-o", target]
