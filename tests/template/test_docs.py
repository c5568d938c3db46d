"""What the documents tell people to type is there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.bake import ROOT, TEMPLATE, settings
from tests.conftest import Bake

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
INV = re.compile(r"`inv ([a-z][\w.-]*)|^\s*inv ([a-z][\w.-]*)|&& inv ([a-z][\w.-]*)", re.MULTILINE)
NOX = re.compile(r"nox -s ([a-z]+)")
COMMAND = re.compile(r"\binv ([a-z][\w.-]*)((?: +(?!&&|\|)[^\s`|&;]+)*)")
OPTIONS = """
import json, sys
from invoke.collection import Collection
from invoke.loader import FilesystemLoader
module, _ = FilesystemLoader(start=sys.argv[1]).load("tasks")
tasks = Collection.from_module(module)
flags = {
    name: [flag for one in tasks[name].get_arguments() for flag in one.names]
    for name in tasks.task_names
}
print(json.dumps(flags))
"""
"""Prints the options of each task of a repository."""
EVERYWHERE = {"yes", "help", "list", "l", "debug", "format", "F"}
"""Options of invoke itself, and of every task that asks."""
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


def tasks(inv: Path | str, folder: Path, *python: str) -> set[str]:
    """List the tasks of a repository, dotted."""
    command = [*python, str(inv), "--list", "-F", "json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return {*dotted(json.loads(done.stdout))}


def dotted(collection: dict[str, list[dict[str, str]]], prefix: str = "") -> list[str]:
    own = [prefix + task["name"] for task in collection["tasks"]]
    for inner in collection["collections"]:
        own += dotted(inner, f"{prefix}{inner['name']}.")  # type: ignore[arg-type]
    return own


def typed(pattern: re.Pattern[str], text: str) -> set[str]:
    return {"".join(found) for found in pattern.findall(text)}


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -r requirements.txt && inv demo" in text
    assert "pip install -r requirements.txt && nox -s ci" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        assert (document.parent / link).exists(), link


def test_documents_name_tasks_that_there_are(bake: Bake, tools: Path) -> None:
    project = bake(services=", ".join(settings()["__services"]))
    known = tasks("invoke", ROOT, sys.executable, "-m") | tasks(tools / "inv", project)
    for document in (*DOCUMENTS, *project.rglob("*.md")):
        text = document.read_text(encoding="utf-8")
        assert typed(INV, text) <= known, document


def task_options(inv_python: str, folder: Path) -> dict[str, set[str]]:
    command = [inv_python, "-c", OPTIONS, str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return {name: {*flags} for name, flags in json.loads(done.stdout).items()}


def unknown_options(text: str, known: dict[str, set[str]]) -> list[str]:
    """Return commands with an option that their task does not have."""
    return [
        f"inv {task}{rest}"
        for task, rest in COMMAND.findall(text)
        for option in re.findall(r"(?<!\S)--([a-z][\w-]*)", rest.partition(" -- ")[0])
        if task in known and option.removeprefix("no-") not in known[task] | EVERYWHERE
    ]


def test_documents_name_options_that_there_are(bake: Bake) -> None:
    project = bake(services=", ".join(settings()["__services"]))
    known = task_options(sys.executable, ROOT) | task_options(sys.executable, project)
    assert unknown_options("inv bake --no-such-option", known)
    for document in (*DOCUMENTS, *project.rglob("*.md")):
        assert unknown_options(document.read_text(encoding="utf-8"), known) == [], document


def test_pre_commit_can_be_installed_as_the_readme_says(
    bake: Bake, tools: Path, variables: dict[str, str]
) -> None:
    project = bake()
    words = "`pip install -r requirements-dev.txt && pre-commit install`"
    assert words in (project / "README.md").read_text(encoding="utf-8")
    for command in (["git", "init", "--quiet"], [str(tools / "pre-commit"), "install"]):
        subprocess.run(command, cwd=project, env=variables, capture_output=True, check=True)
    assert (project / ".git" / "hooks" / "pre-commit").is_file()
    assert "\npre-commit==" in (project / "requirements-dev.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("preset", settings()["_presets"])
def test_a_preset_names_only_tasks_that_it_has(bake: Bake, tools: Path, preset: str) -> None:
    project = bake(preset=preset)
    known = tasks(tools / "inv", project)
    for document in project.rglob("*.md"):
        assert typed(INV, document.read_text(encoding="utf-8")) <= known, document


def test_documents_name_sessions_that_there_are(bake: Bake) -> None:
    project = bake()
    for root, documents in ((ROOT, DOCUMENTS), (project, [*project.rglob("*.md")])):
        sessions = {
            *re.findall(r"^def (\w+)\(session", (root / "noxfile.py").read_text(), re.MULTILINE)
        }
        for document in documents:
            assert typed(NOX, document.read_text(encoding="utf-8")) <= sessions, document


def test_the_ci_of_the_template_runs_what_the_readme_says() -> None:
    for name in (".ci/run", ".github/workflows/ci.yml"):
        assert "-r requirements.txt && nox -s ci" in (ROOT / name).read_text(encoding="utf-8")


def test_actions_are_pinned_by_commit() -> None:
    for workflow in (*ROOT.glob(".github/workflows/*"), *TEMPLATE.glob(".github/workflows/*")):
        for action in re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_tools_of_pre_commit_are_those_of_the_sessions() -> None:
    locked = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for pinned in re.findall(r"\[(.*==.*)\]", hooks):
        assert f"{pinned} " in locked
