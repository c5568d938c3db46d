from __future__ import annotations

import http.server
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from slipway.core.errors import Refused
from slipway.harness import http as harness_http
from slipway.harness.chaos import Stage
from slipway.harness.http import Answer, content, pieces
from slipway.harness.player import Player
from slipway.harness.scenarios import (
    DISTURBANCES,
    Disturb,
    Examples,
    Expected,
    Inside,
    Restore,
    Scenario,
    Send,
    Table,
    at,
    described,
    differences,
    fill,
    matches,
    named,
    read,
    repeated,
    step,
    table,
)
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from slipway.harness.report import Case
    from slipway.harness.scenarios import Step

OK = Expected(status=(200,))


def test_the_table_of_this_repository_holds_at_least_20_cases_with_names_of_their_own() -> None:
    held = read(REPOSITORY / "tests" / "scenarios.yaml")
    names = [scenario.name for scenario in held.scenarios]
    assert len(names) == len(set(names)) >= 20
    assert held.before


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("restore", Restore()),
        ({"stop": "redis"}, Disturb("stop", "redis")),
        ({"scale": {"api": 3}}, Disturb("scale", {"api": 3})),
        ({"send": "GET /", "expect": 200}, Send("GET /", OK)),
        ({"send": "GET /", "expect": [413, 422]}, Send("GET /", Expected(status=(413, 422)))),
        (
            {"send": "GET /", "expect": {"status": 503, "json": {"a.0": 1}}, "within": 5},
            Send("GET /", Expected((503,), json={"a.0": 1}), within=5),
        ),
        (
            {"send": "GET /", "expect": 200, "during": {"kill": "api"}},
            Send("GET /", OK, during=Disturb("kill", "api")),
        ),
        ({"examples": "POST /predict", "expect": 200}, Examples("POST /predict", OK)),
        ({"inside": "api", "command": "true"}, Inside("api", "true")),
    ],
)
def test_a_step_is_read(entry: str | dict[str, Any], expected: Step) -> None:
    assert step(entry) == expected


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("stop", "'stop' is no step"),
        ({"break": "api"}, "'break' starts no step"),
        ({"send": "GET /", "expects": 200}, "unexpected keyword argument 'expects'"),
        ({"send": "GET /"}, "missing 1 required positional argument: 'expect'"),
        ({"send": "GET /", "expect": {"state": 200}}, "unexpected keyword argument 'state'"),
        ({"stop": "api", "kill": "api"}, "too many values"),
        ({"send": "GET /", "expect": 200, "during": {"burn": "api"}}, "'burn' is none of stop"),
    ],
)
def test_what_is_no_step_is_refused_with_its_scenario(
    tmp_path: Path, entry: object, reason: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=reason):
        step(entry)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"the case: .*{reason}"):
        table({"scenarios": [{"name": "the case", "steps": [entry]}]})
    with pytest.raises(Refused, match=r"scenarios\.yaml"):
        read(tmp_path / "scenarios.yaml")


def test_names_are_filled_in_with_their_type_where_they_stand_alone() -> None:
    known = {"number": 7, "KEY": "hush"}
    assert fill({"a": ["$number", "is $number"], "b": "/^v$/", "c": 1}, known) == {
        "a": [7, "is 7"],
        "b": "/^v$/",
        "c": 1,
    }
    assert fill("$unknown costs $5", known) == "$unknown costs $5"


def test_values_are_found_by_their_path() -> None:
    said = {"checks": {"cache": {"ok": False}}, "detail": [{"loc": ["body", "at"]}]}
    assert at(said, "checks.cache.ok") is False
    assert at(said, "detail.0.loc.1") == "at"
    assert at([{"id": 3}], "0.id") == 3
    for path in ("none", "detail.7.loc", "detail.loc", "checks.cache.ok.more"):
        assert at(said, path) is None


def test_values_match_by_equality_or_a_regular_expression() -> None:
    assert matches(3, 3)
    assert not matches(3, "3")
    assert matches("/^v\\d/", "v1.0")
    assert matches("/^7$/", 7)
    assert not matches("/x/", None)
    assert not matches("/", "x")


def test_an_answer_is_compared_in_all_that_is_said_of_it() -> None:
    wanted = Expected((200,), {"Retry-After": r"/^\d+$/"}, {"id": "$number"}, "/id/", seconds=2)
    good = Answer(200, '{"id": 7}', {"retry-after": "3"}, 1)
    assert list(differences(wanted, good, {"number": 7})) == []
    assert list(differences(wanted, Answer(503, "no", {}, 3), {"number": 7})) == [
        "the status is 503, not 200",
        r"the header Retry-After is None, not /^\d+$/",
        "id is None, not 7",
        "it took 3.0 s, not at most 2",
        "its text is not /id/",
    ]


def test_a_value_that_answers_share_is_seen() -> None:
    answers = [Answer(200, f'{{"id": {number}}}') for number in (1, 2, 1)]
    assert repeated("id", answers)
    assert not repeated("id", answers[:2])


def test_an_answer_is_told_in_one_line_that_is_not_long() -> None:
    assert str(Answer(200, "a\nb")) == "200 a b"
    assert len(str(Answer(200, "x" * 1000))) < 320


def test_bodies() -> None:
    assert content(Send("GET /", OK)) is None
    assert content(Send("POST /", OK, body={})) == b"{}"
    assert content(Send("POST /", OK, text="{")) == b"{"
    assert len(content(Send("POST /", OK, size=1000)) or b"") == 1000


def test_a_body_is_cut_into_pieces_that_make_it_up() -> None:
    assert pieces(b"abcdefg", 3) == [b"abc", b"def", b"g"]
    assert pieces(b"ab", 20) == [b"a", b"b"]
    assert pieces(b"", 1) == []


def test_steps_are_described() -> None:
    said = [
        described(one)
        for one in (
            Send("GET /", OK),
            Examples("POST /", OK),
            Inside("api", "true"),
            Disturb("stop", "api"),
            Restore(),
        )
    ]
    assert said == ["GET /", "the examples of POST /", "in api: true", "stop api", "restore"]


def test_every_disturbance_is_one_that_a_stage_knows() -> None:
    assert [verb for verb in DISTURBANCES if not hasattr(Stage, f"_{verb}")] == []


class Web(http.server.BaseHTTPRequestHandler):
    """Counts what it is sent; answers 200 from the third on."""

    seen: list[tuple[str, str, bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.headers.get("X-API-Key", ""), body))
        self.send_response(200 if len(self.seen) > 2 else 503)
        self.end_headers()
        self.wfile.write(b'{"id": %d}' % len(self.seen))

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def web() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """Serve on a free port; return the address and what it was sent."""
    seen: list[tuple[str, str, bytes]] = []
    handler = type("Handler", (Web,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


class FakeStage:
    """Notes what is done to it."""

    def __init__(self, url: str, well: bool = True) -> None:
        self.url = url
        self.well = well
        self.done: list[str] = []

    def await_health(self) -> None:
        if not self.well:
            raise Refused("postgres is stopped")

    def disturb(self, asked: Disturb) -> None:
        if asked.what == "nothing":
            raise Refused("nothing has no container")
        self.done.append(f"{asked.verb} {asked.what}")

    def restore(self) -> None:
        self.done.append("restore")

    def inside(self, service: str, command: list[str]) -> tuple[int, str, str]:
        self.done.append(f"{service}: {command}")
        return (0 if "well" in command else 3), "said", " and complained"


def play(stage: FakeStage, *steps: Step, notes: Callable[[str], None] = print) -> Case:
    """Play one scenario and return what came of it."""
    player = Player(stage, {"KEY": "hush"}, notes)  # type: ignore[arg-type]
    (case,) = player.play(Table((), (Scenario("case", steps),)))
    return case


def test_a_request_is_sent_until_it_comes_out_as_expected(
    web: tuple[str, list[tuple[str, str, bytes]]],
) -> None:
    url, seen = web
    notes: list[str] = []
    case = play(
        FakeStage(url),
        Send("POST /", OK, body={}, headers={"X-API-Key": "$KEY"}, within=5, keep={"id": "it"}),
        Send("GET /", Expected(json={"id": 4}), tries=3),
        notes=notes.append,
    )
    assert (case.state, case.detail) == ("passed", "")
    assert seen == [("POST", "hush", b"{}")] * 3 + [("GET", "", b"")]
    assert "hush" not in "".join(notes)


def test_a_step_that_does_not_come_out_so_ends_the_scenario_and_says_in_what(
    web: tuple[str, list[tuple[str, str, bytes]]],
) -> None:
    url, seen = web
    stage = FakeStage(url)
    case = play(stage, Disturb("stop", "redis"), Send("GET /", OK), Send("GET /", OK))
    assert case.state == "failed"
    assert case.detail == 'step 2 (GET /): the status is 503, not 200: 503 {"id": 1}'
    assert len(seen) == 1
    assert stage.done == ["stop redis", "restore"]


def test_what_does_not_answer_is_a_difference_and_no_crash() -> None:
    case = play(FakeStage("http://127.0.0.1:9"), Send("GET /", OK))
    assert "the status is 0, not 200: 0 ConnectionRefusedError" in case.detail


def test_one_bad_answer_of_many_is_told(web: tuple[str, list[tuple[str, str, bytes]]]) -> None:
    case = play(FakeStage(web[0]), Send("GET /", OK, times=6, clients=3))
    assert "(2 of 6 answers)" in case.detail
    assert (
        play(FakeStage(web[0]), Send("GET /", Expected((200,), distinct="id"), times=3)).detail
        == ""
    )


def test_requests_go_on_while_something_is_done(
    web: tuple[str, list[tuple[str, str, bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness_http, "PAUSE", 0.01)
    monkeypatch.setattr(harness_http, "AFTERWARDS", 0.3)
    url, seen = web
    stage = FakeStage(url)
    wanted = Expected(status=(200, 503))
    case = play(stage, Send("GET /", wanted, clients=2, during=Disturb("kill", "api")))
    assert case.state == "passed"
    assert stage.done == ["kill api", "restore"]
    assert len(seen) > 4
    broken = play(stage, Send("GET /", wanted, during=Disturb("kill", "nothing")))
    assert "nothing has no container" in broken.detail


def test_a_body_is_sent_slowly(web: tuple[str, list[tuple[str, str, bytes]]]) -> None:
    url, seen = web
    start = time.monotonic()
    harness_http.ask(url, Send("POST /", OK, text="slowly", slowly=0.5))
    assert time.monotonic() - start >= 0.5
    assert seen == [("POST", "", b"slowly")]


def test_commands_inside_are_judged_by_exit_code_and_text(
    web: tuple[str, list[tuple[str, str, bytes]]],
) -> None:
    stage = FakeStage(web[0])
    assert play(stage, Inside("api", "be well", text="/said/")).state == "passed"
    assert play(stage, Inside("api", "fail", code=3)).state == "passed"
    assert "exit code 3, not 0: said and complained" in play(stage, Inside("api", "fail")).detail
    assert "does not print /shouted/" in play(stage, Inside("api", "be well", "/shouted/")).detail


def test_nothing_is_played_on_a_stack_that_is_not_well() -> None:
    stage = FakeStage("http://127.0.0.1:9", well=False)
    cases = Table((), (Scenario("one", (Disturb("stop", "redis"),)), Scenario("two", ())))
    found = list(Player(stage, {}, print).play(cases))  # type: ignore[arg-type]
    assert [(case.name, case.state) for case in found] == [("one", "failed"), ("two", "failed")]
    assert "the stack was not well before it: postgres is stopped" in found[1].detail
    assert stage.done == []


def test_scenarios_are_chosen_by_a_part_of_their_name() -> None:
    one, other = Scenario("a cache hit", ()), Scenario("a slow client", ())
    both = Table((Restore(),), (one, other))
    assert named(both, "") == both
    assert named(both, "slow") == Table((Restore(),), (other,))
    with pytest.raises(Refused, match="'fast' in its name; there are\n  a cache hit\n  a slow"):
        named(both, "fast")
