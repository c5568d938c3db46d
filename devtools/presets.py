"""Bake presets and let the repositories run their own checks.

`python -m devtools.presets serving` runs all of the first preset's, and with names of others what
checks that which only they have.
"""

import argparse
import re
import shutil
import sys
import time
import tomllib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from devtools import bake, environment, process

KEPT = (".nox", ".venv")
"""Kept for the next run: the environments."""
REPOSITORY = "tests/test_repository.py"
"""Checked in every repository."""
OPTIONS = {"workers": ("monitoring", "pipeline")}
"""Additional services checked with a preset: those of no preset, and another preset's."""
LIMIT = 1200.0
"""Seconds to wait for another preset's tests."""


def renew(preset: str) -> Path:
    """Bake a preset again, but keep the environments of its last bake."""
    folder = bake.BUILD / "projects" / preset
    fresh = folder.with_name(f"{preset}.new")
    bake.bake_as(fresh, {"preset": preset, "services": ", ".join(sorted(checked(preset)))})
    for name in KEPT:
        if (folder / name).exists():
            (folder / name).rename(fresh / name)
    shutil.rmtree(folder, ignore_errors=True)
    return fresh.rename(folder)


def named(preset: str) -> set[str]:
    return {*re.findall(r"[\w-]+", bake.settings()["_presets"][preset])}


def checked(preset: str) -> set[str]:
    return {*named(preset), *OPTIONS.get(preset, ())}


def needed(names: Iterable[str]) -> set[str]:
    """Return services and their dependencies."""
    found, table = {*names}, bake.settings()["__services"]
    while more := {need for name in found for need in table[name]["needs"]} - found:
        found |= more
    return found


def others(preset: str) -> tuple[set[str], set[str]]:
    """Return the services of the presets that are checked before this one, and of those after."""
    presets = list(bake.settings()["_presets"])
    at = presets.index(preset)
    earlier, later = (
        needed(name for each in some for name in named(each))
        for some in (presets[:at], presets[at + 1 :])
    )
    return earlier, later - earlier - named(preset)


def own_tests(folder: Path, names: Collection[str]) -> list[str]:
    """Return the test folders that belong to some services."""
    answers = tomllib.loads((folder / "project.toml").read_text(encoding="utf-8"))
    patterns = bake.owned_paths(names, answers["project"]["package"])
    found = {path / "tests" for pattern in patterns for path in folder.glob(pattern)}
    return sorted(str(path.relative_to(folder)) for path in found if path.is_dir())


def parts(folder: Path, preset: str) -> dict[str, list[str]]:
    """Return the sessions that check what only this preset has, with their arguments.

    The tests of what presets share are the same files: the first preset runs them. Of a later
    preset that is checked with it, its tests are left to it. Types are checked in every bake by the
    template's own tests.
    """
    earlier, later = others(preset)
    there = needed(checked(preset)) - earlier
    mine = {*own_tests(folder, there - later)} - {*own_tests(folder, earlier)}
    return {"lint": [], "tests": [REPOSITORY, *sorted(mine)]}


def check(preset: str) -> int:
    """Run the commands of a preset's README, and return the exit code."""
    folder = renew(preset)
    environment.ensure(folder / ".venv", folder / "requirements.txt")
    return process.run(["nox", "-s", "ci"], cwd=folder, env=environment.variables(folder / ".venv"))


def await_tests(preset: str) -> None:
    """Wait until a preset's tests have ended.

    They need all cores, and their browser fails where networks of containers come and go.
    """
    report = bake.BUILD / "projects" / preset / "reports" / "tests.xml"
    deadline = time.monotonic() + LIMIT
    while not report.is_file() and time.monotonic() < deadline:
        time.sleep(1)


def check_own(presets: Sequence[str], beside: str = "") -> int:
    """Run the checks of what only these presets have, and return the exit code.

    Tests come after those of the preset that is checked beside, while that one waits for its
    containers. Everything runs in one environment a preset.
    """
    folders = {preset: renew(preset) for preset in presets}
    for folder in folders.values():
        environment.ensure(folder / ".venv", folder / "requirements-dev.txt")
    wanted = {preset: parts(folder, preset) for preset, folder in folders.items()}

    def run(name: str) -> list[int]:
        return [
            process.run(
                ["nox", "--no-venv", "--no-install", "-s", name, "--", *wanted[preset][name]],
                cwd=folder,
                env=environment.variables(folder / ".venv"),
            )
            for preset, folder in folders.items()
        ]

    codes = run("lint")
    if beside:
        await_tests(beside)
    return max(*codes, *run("tests"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--beside", default="", help="a preset being checked at the same time")
    told = parser.parse_args()
    first = next(iter(bake.settings()["_presets"]))
    return check(first) if told.presets == [first] else check_own(told.presets, told.beside)


if __name__ == "__main__":
    sys.exit(main())
