"""The harness on the engine: green on a stack that works, red on each that does not."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.engine.conftest import image_names
from tests.support.copies import Copy

if TYPE_CHECKING:
    from pathlib import Path

    import docker

    from tests.engine.conftest import Stack

ENDS = {"command": ["false"]}
BROKEN: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "postgres": (ENDS, ["--only", "verify"], "stack: up: postgres is failed"),
    "redis": (ENDS, ["--only", "verify"], "stack: up: redis is failed"),
    "migrate": (
        {"command": ["python", "-c", "print('as if it had migrated')"]},
        ["--only", "verify"],
        "stack: up: prepare is failed",
    ),
    "prepare": (ENDS, ["--only", "verify"], "stack: up: prepare is failed"),
    "scheduler": (ENDS, ["--only", "verify"], "stack: up: scheduler is failed"),
    "api": (
        {"environment": {"DISK_FREE_MIN_MB": "999999999"}},
        ["--only", "verify"],
        "DISK_FREE_MIN_MB is 999999999",
    ),
    "dashboard": (
        {"environment": {"API_URL": "http://127.0.0.1:9"}},
        ["--scenario", "the dashboard"],
        "Connection refused",
    ),
    "proxy": (
        {"environment": {"DOMAIN": "http://elsewhere.example"}},
        ["--scenario", "an unknown tier"],
        "the stack was not healthy before it",
    ),
}
"""For each service, what breaks it, what is run, and what then has to be said.

What breaks the last three leaves them healthy in the eyes of the engine.
"""

ALIKE = {"redis", "migrate", "prepare", "scheduler"}
"""Broken as postgres is, and found in the same way."""


class Tried(Copy):
    """A copy of the repository in which the harness is run."""

    def run(self, *arguments: str, code: int = 0) -> str:
        return self.inv("harness.run", *arguments, code=code)

    @property
    def reports(self) -> Path:
        (folder,) = (self.root / "reports").glob("harness-*")
        return folder

    def summary(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads((self.reports / "summary.json").read_text())
        return said

    def log(self) -> str:
        (path,) = (self.root / "reports").glob("container-test-harness-*.log")
        return path.read_text()

    def change(self, service: str, **entries: object) -> None:
        """Put something on top of a service, in the file that is on top of every profile."""
        text = yaml.safe_dump({"services": {service: entries}})
        (self.root / "compose.lock.yaml").write_text(text)

    def bring_models(self, models: Path) -> None:
        """Have models come along into the stack, which then need not train any."""
        shutil.copytree(models, self.root / "models", symlinks=True)
        ignored = self.root / ".gitignore"
        ignored.write_text(ignored.read_text().replace("/models/\n", ""))

    def wait_less(self) -> None:
        """Cut the time that the attempts of a scenario have."""
        for module in (self.root / "tests" / "scenarios").glob("*.py"):
            module.write_text(re.sub(r"within\(\d+\)", "within(2)", module.read_text()))


@pytest.fixture
def copied(engine: docker.DockerClient, tmp_path: Path) -> Tried:
    del engine
    return Tried(tmp_path / "repository", API_KEY="of the developer", APP_ENV="dev")


@pytest.fixture
def trained(copied: Tried, stack: Stack) -> Tried:
    """Return a copy that has the models of the stack that is up."""
    copied.bring_models(stack.root / "models")
    return copied


def left_by(client: docker.DockerClient, said: str) -> list[str]:
    """Name what is left of the run that said this."""
    (name,) = re.findall(r"^Harness (\S+) ", said, re.MULTILINE)
    names = [item.name for item in client.containers.list(all=True, ignore_removed=True)]
    names += [item.name for item in client.volumes.list()]
    names += [item.name for item in client.networks.list()]
    names += image_names(client)
    return [one for one in names if name in one]


def test_it_is_green_on_a_stack_that_works(copied: Tried, engine: docker.DockerClient) -> None:
    said = copied.run("--scenario", "scaled up and down")
    assert left_by(engine, said) == []
    assert not list((copied.root / "run" / "harness").iterdir())
    assert copied.summary()["ok"] is True
    assert copied.summary()["parts"][-1] == {
        "part": "scenarios", "outcome": "ok", "passed": 1, "failed": 0, "skipped": 0,
    }  # fmt: skip
    logs = [path.name for path in (copied.reports / "logs").iterdir()]
    stayed = ("api-1", "api-2", "dashboard-1", "migrate-1", "postgres-1", "proxy-1", "redis-1")
    for name in (*stayed, "scheduler-1", "api-3"):  # which was there for a while only
        assert [log for log in logs if log.endswith(f"-{name}.log")], name
    assert "Uvicorn running" in copied.log()
    ET.parse(copied.reports / "scenarios.xml")  # noqa: S314 - written by the harness


@pytest.mark.parametrize(
    "service", [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in BROKEN]
)
def test_it_is_red_when_a_service_is_broken(
    trained: Tried, engine: docker.DockerClient, service: str
) -> None:
    entries, arguments, reason = BROKEN[service]
    trained.change(service, **entries)
    trained.wait_less()
    said = trained.run(*arguments, "--timeout", "30", code=1)
    assert reason in said
    assert (trained.summary()["ok"], trained.summary()["failed"]) == (False, 1)
    assert [path for path in (trained.reports / "logs").iterdir() if f"-{service}-" in path.name]
    assert left_by(engine, said) == []


def test_every_service_is_broken_once(copied: Tried) -> None:
    files = [
        yaml.safe_load(path.read_text()) for path in copied.root.glob("services/*/compose.yaml")
    ]
    assert {name for file in files for name in file["services"]} == BROKEN.keys()


def test_it_is_red_when_a_test_fails_in_the_image(
    copied: Tried, engine: docker.DockerClient
) -> None:
    for folder in (copied.root / "tests", *copied.root.glob("src/**/tests")):
        shutil.rmtree(folder)
        folder.mkdir()
    tests = "def test_one(): pass\ndef test_two(): assert not 'as it should be'\n"
    (copied.root / "tests" / "test_it.py").write_text(tests)
    said = copied.run("--only", "tests", code=1)
    assert "tests: tests.test_it::test_two: AssertionError" in said
    assert copied.summary()["parts"][-1] == {
        "part": "tests", "outcome": "failed", "passed": 1, "failed": 1, "skipped": 0,
    }  # fmt: skip
    assert (copied.reports / "tests.xml").is_file()
    assert left_by(engine, said) == []


def test_it_collects_and_leaves_nothing_when_it_is_interrupted(
    trained: Tried, engine: docker.DockerClient
) -> None:
    command = [sys.executable, "-m", "invoke", "harness.run", "--only", "scenarios"]
    with subprocess.Popen(
        command,
        cwd=trained.root,
        env=trained.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if "the dashboard is up" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert trained.summary()["ended"] == "interrupted"
    assert "Uvicorn running" in trained.log()
    assert left_by(engine, said) == []
