"""Bake a preset and let the repository run its own checks."""

import shutil
import sys
from pathlib import Path

from slipway import bake, environment, process

KEPT = (".nox", ".venv")
"""What makes the next run quicker: the environments of the last one."""


def renew(preset: str) -> Path:
    """Bake a preset anew, but keep the environments of its last bake."""
    folder = bake.BUILD / "projects" / preset
    fresh = folder.with_name(f"{preset}.new")
    bake.bake_as(fresh, {"preset": preset})
    for name in KEPT:
        if (folder / name).exists():
            (folder / name).rename(fresh / name)
    shutil.rmtree(folder, ignore_errors=True)
    return fresh.rename(folder)


def check(preset: str) -> int:
    """Run what its README says, and return the exit code."""
    folder = renew(preset)
    environment.ensure(folder / ".venv", folder / "requirements.txt")
    return process.run(["nox", "-s", "ci"], cwd=folder, env=environment.variables(folder / ".venv"))


if __name__ == "__main__":
    sys.exit(check(sys.argv[1]))
