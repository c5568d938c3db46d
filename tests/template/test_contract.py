"""What slipway/ promises to a repository: it leaves the user's tools alone, and may be patched."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from devtools.bake import ROOT, TEMPLATE, settings
from tests.support.bakes import baked

if TYPE_CHECKING:
    from pathlib import Path

VERSION = (TEMPLATE / "slipway" / "VERSION").read_text(encoding="utf-8").strip()


def run(folder: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_version_is_the_template_s() -> None:
    assert settings()["_template_version"] == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(VERSION)}\b", changes, re.MULTILINE)


def test_the_readme_names_every_room() -> None:
    said = (TEMPLATE / "slipway" / "README.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (TEMPLATE / "slipway").glob("*/__init__.py")}
    assert {*re.findall(r"^\| `(\w+)/` \|", said, re.MULTILINE)} == rooms


def test_a_repository_s_tools_check_its_own_tasks_and_leave_slipway_alone(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(baked("pipeline"), project, ignore=shutil.ignore_patterns("__pycache__"))
    errors = project / "slipway" / "core" / "errors.py"
    errors.write_text(errors.read_text(encoding="utf-8") + "\nNUMBER: int = 'text'\n")
    tasks = project / "tasks.py"
    text = tasks.read_text(encoding="utf-8")
    own = textwrap.dedent(text.partition("runs:\n\n")[2].partition('"""')[0]).replace("'''", '"""')
    tasks.write_text(f"{text}\n{own.rstrip()}\n", encoding="utf-8")
    run(project, "ruff", "format", "--check", "--no-cache", "tasks.py")
    run(project, "ruff", "check", "--no-cache", "tasks.py")
    assert run(project, "invoke", "hello", "--name=you") == "Weather Forecast says hello to you.\n"
    with tasks.open("a", encoding="utf-8") as file:
        file.write("WRONG: int = project.find_root()\n")

    said = run(project, "mypy", "--cache-dir", str(ROOT / "build" / ".mypy_cache"), code=1)
    assert "Found 1 error in 1 file" in said  # what it offers has types all the same
    assert re.search(r"tasks\.py:\d+: error: Incompatible types", said)


GENERAL = {"build", "deploy", "deps", "env", "stack"}
OF_THE_API = {"backup", "data", "db", "harness", "models"}
NAMESPACES = {
    "serving": GENERAL | OF_THE_API,
    "workers": GENERAL | OF_THE_API,
    "pipeline": GENERAL | {"pipeline"},
}
IMPORTS = """
import importlib, pathlib, sys
for path in sorted(pathlib.Path("slipway").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if name not in sys.argv:
        importlib.import_module(name)
"""


def test_every_preset_is_asserted_below() -> None:
    assert NAMESPACES.keys() == settings()["_presets"].keys()


@pytest.mark.parametrize("preset", NAMESPACES)
def test_a_preset_has_the_rooms_and_the_tasks_of_its_services(preset: str) -> None:
    project = baked(preset)
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=project, check=True)
    listed = json.loads(run(project, "invoke", "--list", "-F", "json"))
    assert {space["name"] for space in listed["collections"]} == NAMESPACES[preset]
    assert {task["name"] for task in listed["tasks"]} == {"ci", "doctor", "list"}
    env = next(space for space in listed["collections"] if space["name"] == "env")
    assert ("rotate" in {task["name"] for task in env["tasks"]}) == (preset != "pipeline")
    rooms = {path.parent.name for path in project.glob("slipway/*/__init__.py")}
    ours = {"ci", "config", "core", "secret", "stack", "tasks"}
    assert rooms == ours | (
        {"pipeline"} if preset == "pipeline" else {"backup", "harness", "models"}
    )
