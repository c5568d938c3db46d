"""Check the types of the template as it stands, before any bake."""

import shutil
import sys
from pathlib import Path

from invoke.exceptions import Exit

from devtools import bake, environment, process

PLACE = bake.BUILD / "inplace"


def lay_out() -> Path:
    """Link the template's parts under names that Python can import."""
    shutil.rmtree(PLACE, ignore_errors=True)
    package = PLACE / "src" / "weather_forecast"
    package.parent.mkdir(parents=True)
    package.symlink_to(bake.TEMPLATE / "src" / "{{cookiecutter.package_name}}")
    for name in ("slipway", "tests", "tasks.py", "noxfile.py"):
        (PLACE / name).symlink_to(bake.TEMPLATE / name)
    text = (bake.TEMPLATE / "pyproject.toml").read_text(encoding="utf-8")
    renamed = text.replace("{{ cookiecutter.package_name }}", package.name)
    (PLACE / "pyproject.toml").write_text(checked_whole(renamed), encoding="utf-8")
    return PLACE


def checked_whole(settings: str) -> str:
    """Let mypy check slipway/ too, which a repository's own settings leave out."""
    entry = 'module = ["slipway.*"]\nignore_errors = '
    changes = {'files = ["src"': 'files = ["slipway", "src"', f"{entry}true": f"{entry}false"}
    for left_out, checked in changes.items():
        if left_out not in settings:
            raise Exit(f"The template's pyproject.toml no longer has {left_out!r}.")
        settings = settings.replace(left_out, checked)
    return settings


if __name__ == "__main__":
    mypy = [sys.executable, "-m", "mypy"]
    sys.exit(process.run(mypy, cwd=lay_out(), env=environment.variables()))
