"""Bake a preset and let the repository run its own checks."""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from slipway import bake, environment, process

KEPT = (".nox", ".venv")
"""What makes the next run quicker: the environments of the last one."""
ENGINE = "tests/engine"


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


def services(preset: str) -> set[str]:
    """Return the services of a preset, with what they need."""
    settings = bake.settings()
    found = {*re.findall(r"[\w-]+", settings["_presets"][preset])}
    while (
        more := {need for name in found for need in settings["__services"][name]["needs"]} - found
    ):
        found |= more
    return found


def before(preset: str) -> list[str]:
    """Return the presets that are checked before this one."""
    presets = list(bake.settings()["_presets"])
    return presets[: presets.index(preset)]


def own_tests(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the tests of a bake that go with some services."""
    answers = tomllib.loads((folder / "project.toml").read_text(encoding="utf-8"))
    table, package = bake.settings()["__services"], answers["project"]["package"]
    patterns = {
        path.replace("{{ cookiecutter.package_name }}", package)
        for name in names
        for path in table[name]["paths"]
    }
    found = {path.relative_to(folder) for pattern in patterns for path in folder.glob(pattern)}
    tests = {path / "tests" if (folder / path / "tests").is_dir() else path for path in found}
    return sorted(str(path) for path in tests if "tests" in path.parts)


def sessions(folder: Path, preset: str) -> list[list[str]]:
    """Return what is run: all for the first preset, for others what only they have.

    The tests of what presets share are the same files, so they are run once.
    """
    earlier = before(preset)
    if not earlier:
        return [["ci"]]
    known = set[str]().union(*map(services, earlier))
    tests = own_tests(folder, services(preset) - known)
    on_engine = [name for name in tests if name.startswith(ENGINE)]
    elsewhere = [name for name in tests if name not in on_engine]
    parts = {"tests": elsewhere, "engine": on_engine}
    return [["lint", "types"], *([name, "--", *own] for name, own in parts.items() if own)]


def check(preset: str) -> int:
    """Run what its README says, and return the exit code."""
    folder = renew(preset)
    environment.ensure(folder / ".venv", folder / "requirements.txt")
    variables = environment.variables(folder / ".venv")
    codes = [
        process.run(["nox", "-s", *names], cwd=folder, env=variables)
        for names in sessions(folder, preset)
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(check(sys.argv[1]))
