"""Virtual environments, created with uv if it is installed, otherwise with venv and pip."""

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path

from invoke.exceptions import Exit

from devtools import bake, process

STAMP = "installed-from"


def uv() -> str | None:
    return shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def commands(venv: Path, requirements: Path, uv: str | None) -> list[list[str]]:
    """Return the commands that create the environment and install the packages."""
    python = str(venv / "bin" / "python")
    # Progress is for terminals.
    packages = [*([] if sys.stdout.isatty() else ["--quiet"]), "--require-hashes"]
    packages += ["-r", str(requirements)]
    if uv:
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)]
        return [make, [uv, "pip", "install", "--python", python, *packages]]
    make = [sys.executable, "-m", "venv", "--clear", str(venv)]
    return [make, [python, "-m", "pip", "install", *packages]]


def ensure(venv: Path, requirements: Path) -> bool:
    """Create the environment unless it has these packages; return whether it was created.

    Processes that need the same one at the same time wait for each other.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = venv / STAMP
    venv.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(venv).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
            return False
        for command in commands(venv, requirements, uv()):
            if code := process.run(command, env=variables()):
                raise Exit(f"The packages in {requirements} could not be installed.", code=code)
        stamp.write_text(digest, encoding="utf-8")
        return True


def lock_file(venv: Path) -> Path:
    """Return the file that is locked while an environment is made: not beside it, in a bake."""
    name = hashlib.sha256(str(venv.resolve()).encode()).hexdigest()[:16]
    folder = bake.BUILD / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def variables(venv: Path | None = None, **more: str) -> dict[str, str]:
    """Return the environment variables for a command, for a virtual environment if one is passed.

    Bytecode is always written: otherwise every start compiles the libraries again.
    """
    found = os.environ | more
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    if venv:
        found |= {"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}{os.pathsep}{found['PATH']}"}
    return found
