"""The lock files: which packages, at which version, with which hashes."""

from __future__ import annotations

import sys

LOCKS = {"requirements.in": "requirements.txt", "requirements-dev.in": "requirements-dev.txt"}
OLDEST_PYTHON = "3.11"


def compile_command(source: str, target: str, *, upgrade: bool) -> list[str]:
    """Build the command that resolves `source` for every platform and Python into `target`.

    The command that made a lock is written into it, so it must not hold a path or an index.
    """
    options = ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--quiet"]
    options += ["--no-emit-index-url", "--no-emit-find-links"]
    options += ["--custom-compile-command", "inv deps.lock"]
    return [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        *options,
        *(["--upgrade"] if upgrade else []),
        source,
        "-o",
        target,
    ]
