"""The checks are the same wherever they run: in nox, before a commit and on GitHub."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import string
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from slipway.ci import linters
from slipway.stack.build.compose_cli import LOCK, profile_composition
from slipway.stack.build.images import declared_version
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import nox


def loaded(path: Path) -> ModuleType:
    """Load a file of the repository as a module, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location("noxfile_of_a_bake", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


noxfile = loaded(REPOSITORY / "noxfile.py")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def hooks() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert {repository["repo"] for repository in found} == {"local"}
    return [hook for repository in found for hook in repository["hooks"]]


def test_the_actionlint_of_the_hooks_is_that_of_the_session() -> None:
    pinned = {need for hook in hooks() for need in hook.get("additional_dependencies", [])}
    assert linters.ACTIONLINT in pinned


def test_hooks_look_at_what_the_sessions_look_at() -> None:
    entries = {hook["id"]: hook["entry"] for hook in hooks()}
    session = read("noxfile.py")
    for words in re.findall(r"[\w-]+", f"{entries['zizmor']} {entries['compose-lint']}"):
        assert words in session
    assert entries["compose-lint"].endswith(" ".join(noxfile.PROFILES))


def test_secrets_are_looked_for_before_a_commit_as_in_the_session() -> None:
    found = {hook["id"]: hook for hook in hooks()}
    everywhere, in_tests = found["secrets"], found["secrets-in-tests"]
    assert everywhere["entry"].split() == [*linters.NO_SECRET]
    assert in_tests["entry"].split() == [*linters.NO_SECRET, *linters.INVENTED_IN_TESTS]
    assert everywhere["exclude"] == f"{linters.TESTS}|{linters.LOCKS}|{linters.VENDORED}"
    assert in_tests["files"] == linters.TESTS


class Session:
    """Runs what a session of nox is told to run, and nothing else."""

    def __init__(self, tmp: Path, root: Path) -> None:
        self.tmp, self.root = tmp, root

    def create_tmp(self) -> str:
        return str(self.tmp)

    def run(self, *command: str, **_options: bool) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def random(letters: str, count: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(count))


SIGNS = string.ascii_letters + string.digits
PLANTED: dict[str, Callable[[], str]] = {
    "a key of AWS": lambda: f"name = 'AKIA{random(string.ascii_uppercase + '234567', 16)}'",
    # A real one: of what merely looks like one the scanner takes one in ten for none.
    "private key": lambda: (
        Ed25519PrivateKey.generate()
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode()
    ),
    # Each sign once: one in 250 at random is not random enough for the scanner.
    "random value": lambda: f'other = "{"".join(secrets.SystemRandom().sample(SIGNS, 40))}"',
}


@pytest.mark.parametrize("name", ["services/api/notes.md", "src/tests/x.py"])
def test_a_secret_in_any_file_that_git_would_keep_stops_the_session(
    tmp_path: Path, name: str
) -> None:
    if not shutil.which("git"):
        pytest.skip("no git to say what it would keep")
    root = tmp_path / "root"
    session = cast("nox.Session", Session(tmp_path, root))
    for path, text in {".gitignore": "/.env.*", "tests/x.py": "", "x.py": "", name: ""}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / ".env.prod").write_text("\n".join(made() for made in PLANTED.values()))
    linters.search_secrets(session, root)
    for made in PLANTED.values():
        (root / name).write_text(made())
        with pytest.raises(AssertionError, match="Potential secrets"):
            linters.search_secrets(session, root)


def test_github_runs_every_session() -> None:
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    for job, sessions in (("checks", noxfile.WITHOUT_ENGINE), ("containers", noxfile.WITH_ENGINE)):
        assert jobs[job]["strategy"]["matrix"]["session"] == [*sessions]


def test_images_are_scanned_once_they_are_built() -> None:
    steps = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["scan"]["steps"]
    said = [step.get("run") or step["uses"].partition("@")[0] for step in steps]
    built = said.index("inv build.images")
    assert "aquasecurity/setup-trivy" in said[:built]
    assert "inv build.scan --strict" in said[built + 1]


def test_what_is_locked_is_looked_after() -> None:
    updates = yaml.safe_load(read(".github/dependabot.yml"))["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"pip", "docker", "github-actions"}
    assert all(one["cooldown"]["default-days"] >= 7 for one in updates)


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
    files = profile_composition(tmp_path, "shop", {"APP_ENV": "prod"}).files
    assert f"COMPOSE_FILE={':'.join(files)}" in (tmp_path / "held").read_text().splitlines()


def test_what_a_job_may_do_is_said_for_each_and_nothing_by_default() -> None:
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert workflow["permissions"] == {}
    writers = {name for name, job in workflow["jobs"].items() if "write" in str(job["permissions"])}
    assert writers == {"push", "release"}
    for action in re.findall(r"uses: (.*)", read(".github/workflows/ci.yml")):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
