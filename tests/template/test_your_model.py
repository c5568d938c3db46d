"""your-model.md of a bake, followed to the letter: another real problem, to a prediction."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.bench import free_ports
from tests.conftest import Bake
from tests.support.commands import run_to_end

PORTS = ("API_PORT", "DASHBOARD_PORT", "REDIS_PORT")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# file: (\S+)\n")


class Reader:
    """Someone who does what the page says, in the order it says it."""

    def __init__(self, project: Path, tools: Path) -> None:
        self.project = project
        self.ports = dict(zip(PORTS, map(str, free_ports(3)), strict=True))
        self.variables = {**os.environ, **self.ports, "PATH": f"{tools}:{os.environ['PATH']}"}
        self.variables["SLIPWAY_ENGINE"] = "local"
        self.api = f"http://127.0.0.1:{self.ports['API_PORT']}"
        self.said = ""

    def follow(self, page: str) -> None:
        for language, text in BLOCK.findall(page):
            if language == "sh":
                self.said = self.type(text.replace("http://127.0.0.1:8000", self.api))
            else:
                self.write(text)

    def write(self, text: str) -> None:
        name, _, content = text.partition("\n")
        (self.project / FILE.fullmatch(f"{name}\n")[1]).write_text(content, encoding="utf-8")  # type: ignore[index]

    def type(self, commands: str) -> str:
        shell = ["bash", "-euo", "pipefail", "-c", commands]
        done = run_to_end(shell, cwd=self.project, env=self.variables)
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(bake: Bake, tools: Path) -> Iterator[Reader]:
    reader = Reader(bake(), tools)
    yield reader
    reader.type("inv deploy.down")


def test_another_problem_is_served_after_the_example_ran(reader: Reader) -> None:
    page = (reader.project / "services" / "api" / "your-model.md").read_text(encoding="utf-8")
    reader.type("inv deploy.up")
    reader.follow(page)
    answer = json.loads(reader.said)
    # The study's values are 25 to 346, and this patient is one of the progressed.
    assert 100 < answer["prediction"]["progression"] < 300
    models = json.loads(reader.type(f"curl -sS --fail {reader.api}/models"))
    assert {model["tier"]: model["beats_baselines"] for model in models} == {
        "tier1": {"progression": True},
        "tier2": {"progression": True},
    }
    reader.type("ruff check . && ruff format --check . && mypy")
    reader.type("pytest -q src/*/tests/test_{api,artifacts,serving,training,backtest}.py")
