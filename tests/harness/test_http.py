from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from slipway.core.errors import Refused
from slipway.harness import http as harness_http
from slipway.harness.http import ScenarioClient, at_once, excerpt, pieces, slowly, traffic, within
from tests.support.web import counting_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.harness.http import Attempt
    from tests.support.web import Request

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def web() -> Iterator[tuple[str, list[Request]]]:
    with counting_server() as served:
        yield served


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let traffic end soon."""
    monkeypatch.setattr(harness_http, "AFTERWARDS", 0.3)


def test_the_last_answer_is_remembered_without_its_headers(
    web: tuple[str, list[Request]],
) -> None:
    client = ScenarioClient(web[0])
    assert client.last == ""
    client.post("/a?b=c", json={}, headers={"X-API-Key": "hush"})
    assert client.last == 'POST /a?b=c: 503 {"id": 1}'
    assert web[1] == [("POST", "hush", b"{}")]


def test_a_proxy_of_this_machine_is_not_asked(
    web: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", NOBODY)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ScenarioClient(web[0]).get("/").status_code == 503


def test_an_excerpt_is_one_line_that_is_not_long() -> None:
    assert excerpt("a\n b") == "a b"
    assert len(excerpt("x" * 1000)) < 320


def test_attempts_end_with_the_first_that_passes(web: tuple[str, list[Request]]) -> None:
    client = ScenarioClient(web[0])
    for attempt in within(5):
        with attempt:
            assert client.get("/").status_code == 200
    assert len(web[1]) == 3


@pytest.mark.parametrize("error", [AssertionError("not yet"), httpx.ReadError(""), Refused("no")])
def test_the_last_attempt_fails_as_it_failed(error: Exception) -> None:
    tries: list[int] = []
    with pytest.raises(type(error)):
        fail(within(0.3), tries, error)
    assert len(tries) > 1


def test_an_attempt_hides_no_mistake() -> None:
    tries: list[int] = []
    with pytest.raises(KeyError):
        fail(within(60), tries, KeyError())
    assert len(tries) == 1


def fail(attempts: Iterator[Attempt], tries: list[int], error: Exception) -> None:
    """Fail in every attempt."""
    for attempt in attempts:
        with attempt:
            tries.append(1)
            raise error


def test_many_requests_are_sent_at_once(web: tuple[str, list[Request]]) -> None:
    client = ScenarioClient(web[0])
    answers = at_once(lambda: client.get("/"), times=6, clients=3)
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 2


@pytest.mark.usefixtures("quick")
def test_traffic_goes_on_during_a_block_and_after_it(web: tuple[str, list[Request]]) -> None:
    client = ScenarioClient(web[0])
    with traffic(lambda: client.get("/"), clients=2, every=0.01) as answers:
        before = len(answers)
    assert len(answers) == len(web[1]) > before + 4
    assert {answer.status_code for answer in answers} == {200, 503}


@pytest.mark.usefixtures("quick")
def test_traffic_ends_when_its_block_fails(web: tuple[str, list[Request]]) -> None:
    client = ScenarioClient(web[0])
    with pytest.raises(Refused, match="no container"), traffic(lambda: client.get("/"), every=0.01):
        raise Refused("it has no container")
    sent = len(web[1])
    time.sleep(0.1)
    assert len(web[1]) == sent


@pytest.mark.usefixtures("quick")
def test_traffic_that_is_not_answered_fails_its_block() -> None:
    client = ScenarioClient(NOBODY)
    with pytest.raises(httpx.ConnectError), traffic(lambda: client.get("/"), every=0.01):
        pass


def test_a_body_is_sent_slowly(web: tuple[str, list[Request]]) -> None:
    start, headers = time.monotonic(), {"Content-Length": "6"}
    ScenarioClient(web[0]).post("/", content=slowly(b"slowly", 0.5), headers=headers)
    assert time.monotonic() - start >= 0.5
    assert web[1] == [("POST", "", b"slowly")]


def test_a_body_is_cut_into_pieces_that_make_it_up() -> None:
    assert pieces(b"abcdefg", 3) == [b"abc", b"def", b"g"]
    assert pieces(b"ab", 20) == [b"a", b"b"]
    assert pieces(b"", 1) == []
