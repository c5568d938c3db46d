from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple, cast
from xml.etree import ElementTree as ET

import pytest

from slipway.core import redaction
from slipway.core.errors import Refused
from slipway.harness import scenarios
from slipway.harness.scenarios import ScenarioRun
from tests.support.bakes import baked
from tests.support.copies import REPOSITORY
from tests.support.web import counting_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from slipway.harness.chaos import HarnessStack
    from slipway.harness.report import HarnessCase

SETTINGS = '[tool.pytest.ini_options]\naddopts = ["--of-a-plugin-that-is-not-here"]\n'
HEALTHY = """
import pytest

@pytest.fixture(autouse=True)
def healthy(stack, client):
    stack.await_health()
"""


class FakeStack:
    """Notes what is done to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.healthy = True
        self.done: list[str] = []
        self.engine = self

    def await_health(self) -> None:
        self.done.append("health")
        if not self.healthy:
            raise Refused("postgres is stopped")

    def running(self, service: str) -> list[FakeContainer]:
        return [FakeContainer(service, self.done)]


class FakeContainer(NamedTuple):
    name: str
    done: list[str]

    def pause(self) -> None:
        self.done.append(f"pause {self.name}")

    def unpause(self) -> None:
        self.done.append(f"unpause {self.name}")
        if self.name == "stuck":
            raise OSError("stuck is frozen")


class Played(NamedTuple):
    """What came of some scenarios."""

    cases: list[HarnessCase]
    log: str
    xml: ET.Element


class Player:
    """Runs scenarios of a repository of their own."""

    def __init__(self, root: Path, stack: FakeStack) -> None:
        self.root, self.stack = root, stack
        self.cases: list[HarnessCase] = []
        (root / scenarios.FOLDER).mkdir(parents=True)
        (root / "pyproject.toml").write_text(SETTINGS)
        self.write("conftest.py", HEALTHY)

    def write(self, name: str, text: str) -> None:
        (self.root / scenarios.FOLDER / name).write_text(dedent(text))

    def play(self, text: str, selected: str = "") -> Played:
        self.write("test_it.py", text)
        log, junit = self.root / "scenarios.log", self.root / "scenarios.xml"
        plugin = ScenarioRun(cast("HarnessStack", self.stack), selected, self.cases.append)
        with log.open("w") as opened:
            scenarios.run(self.root, plugin, log=opened, junit=junit)
        return Played(self.cases, log.read_text(), ET.parse(junit).getroot())  # noqa: S314 - ours


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    """Return one; the modules that it imports are forgotten."""
    with counting_server() as (url, _):
        before = {*sys.modules}
        yield Player(tmp_path, FakeStack(url))
        for name in {*sys.modules} - before:
            if name.startswith("tests.scenarios"):
                del sys.modules[name]


def test_a_scenario_that_passes_is_reported_with_its_name_in_words(player: Player) -> None:
    played = player.play(
        """
        def test_a_forecast_is_served(client, stack, disturb):
            assert client.get("/a").status_code == 503
            disturb.pause("redis")
        """
    )
    (case,) = played.cases
    assert (case.part, case.name) == ("scenarios", "a forecast is served")
    assert (case.state, case.detail) == ("passed", "")
    assert player.stack.done == ["health", "pause redis", "unpause redis"]
    assert 'GET /a: 503 {"id": 1}' in played.log
    (suite,) = played.xml
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("scenarios", "1", "0")


def test_a_scenario_that_fails_says_where_and_what_was_answered_last(player: Player) -> None:
    played = player.play(
        """
        def test_one(client, disturb):
            disturb.pause("redis")
            assert client.get("/").status_code == 200

        def test_other(client):
            raise ValueError
        """
    )
    one, other = played.cases
    assert (one.state, other.state) == ("failed", "failed")
    assert one.detail.splitlines()[0] == (
        'test_it.py:4: assert 503 == 200 (last answer: GET /: 503 {"id": 1})'
    )
    assert other.detail == "test_it.py:7: ValueError"
    assert player.stack.done[:3] == ["health", "pause redis", "unpause redis"]


def test_what_cannot_be_put_back_fails_a_scenario_and_the_rest_is_put_back(player: Player) -> None:
    played = player.play(
        """
        def test_one(disturb):
            disturb.pause("redis")
            disturb.pause("stuck")
            assert not "as it should be"
        """
    )
    (case,) = played.cases
    assert "test_it.py:5: assert not 'as it should be'" in case.detail
    assert "; not put back: stuck is frozen" in case.detail
    assert player.stack.done[-2:] == ["unpause stuck", "unpause redis"]


def test_nothing_is_run_on_a_stack_that_is_not_healthy_and_none_waits_twice(player: Player) -> None:
    player.stack.healthy = False
    played = player.play(
        """
        def test_one(disturb): disturb.pause("redis")
        def test_other(disturb): disturb.pause("redis")
        """
    )
    assert [(case.name, case.state) for case in played.cases] == [
        ("one", "failed"),
        ("other", "failed"),
    ]
    for case in played.cases:
        assert case.detail == "the stack was not healthy before it: postgres is stopped"
    assert player.stack.done == ["health"]


def test_a_scenario_may_skip_itself_or_be_known_to_fail(player: Player) -> None:
    played = player.play(
        """
        import pytest

        def test_one(): pytest.skip("no GPU")

        @pytest.mark.xfail(reason="it is known")
        def test_other(): assert 0
        """
    )
    assert [(case.state, case.detail) for case in played.cases] == [
        ("skipped", "Skipped: no GPU"),
        ("skipped", "it is known"),
    ]


def test_an_interrupted_scenario_is_put_back(player: Player) -> None:
    with pytest.raises(KeyboardInterrupt):
        player.play(
            """
            def test_one(): pass

            def test_other(disturb):
                disturb.pause("redis")
                raise KeyboardInterrupt
            """
        )
    assert [case.name for case in player.cases] == ["one"]
    assert player.stack.done[-1] == "unpause redis"


def test_the_log_has_no_secrets(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_forms", [])
    redaction.remember_secrets(["of-the-developer"])
    played = player.play("""def test_one(): assert "of-the-developer" == "another" """)
    assert "of-the-developer" not in played.log.replace("test_it.py", "")
    assert redaction.MASK in played.log


def test_what_pytest_cannot_run_is_refused_with_where_to_read_why(player: Player) -> None:
    player.write("conftest.py", "def pytest_runtest_protocol(): raise SystemError('broken')")
    with pytest.raises(Refused, match=r"pytest ended with exit code 3: read .*scenarios\.log"):
        player.play("def test_one(): pass")


def test_only_the_selected_scenarios_run(player: Player) -> None:
    played = player.play("def test_a_cache_hit(): pass\ndef test_a_slow_client(): pass", "slow")
    assert [case.name for case in played.cases] == ["a slow client"]


BOTH = "def test_a_cache_hit(): pass\ndef test_a_SLOW_client(): pass\n"


@pytest.mark.parametrize(
    ("text", "selected"),
    [("", ["a cache hit", "a SLOW client"]), ("slow", ["a SLOW client"]), ("cache hit", None)],
)
def test_scenarios_are_selected_by_a_part_of_their_name(
    player: Player, text: str, selected: list[str] | None
) -> None:
    player.write("test_it.py", BOTH)
    assert scenarios.select(player.root, text) == (selected or ["a cache hit"])


def test_a_name_that_no_scenario_has_is_refused_with_those_there_are(player: Player) -> None:
    player.write("test_it.py", BOTH)
    with pytest.raises(Refused, match="'fast' in its name; there are\n  a cache hit\n  a SLOW"):
        scenarios.select(player.root, "fast")


def test_a_module_that_cannot_be_imported_is_refused_before_anything_starts(player: Player) -> None:
    player.write("test_it.py", "import nothing_such")
    with pytest.raises(Refused, match=r"(?s)tests/scenarios cannot be collected.*nothing_such"):
        scenarios.select(player.root, "")


@pytest.fixture
def titles(player: Player) -> Callable[[str], list[str]]:
    """Return the titles of a preset's scenarios."""
    del player  # which forgets what is imported
    return lambda preset: scenarios.select(baked(preset), "")


def test_a_repository_has_at_least_20_scenarios_with_names_of_their_own(
    titles: Callable[[str], list[str]],
) -> None:
    names = titles("serving")
    assert len(names) == len({*names}) >= 20
    assert [name for name in names if "dashboard" in name]


def test_without_a_dashboard_no_scenario_is_of_it(titles: Callable[[str], list[str]]) -> None:
    assert [name for name in titles("workers") if "dashboard" in name] == []


def collected(*paths: str) -> str:
    """Collect tests as their users do, and return what pytest says."""
    words = ("--collect-only", "-q", "-p", "no:cacheprovider", *paths)
    command = [sys.executable, "-m", "pytest", *words]
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_scenarios_are_not_among_the_other_tests_and_say_what_runs_them() -> None:
    others = collected("tests")
    assert "tests/test_first_run.py" in others
    assert "tests/scenarios" not in others
    assert "need a stack; run: inv harness.run --only scenarios" in collected("tests/scenarios")
