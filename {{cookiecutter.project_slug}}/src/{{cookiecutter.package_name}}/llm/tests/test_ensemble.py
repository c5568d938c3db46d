import time

import pytest

from ..backends import Prompt
from ..ensemble import Answer, Panel, best, supports
from .chatserver import ChatServer
from .conftest import ensemble

PROMPT = Prompt("", "- rain: 73 %")


def asked(panel: Panel) -> list[Answer]:
    return [one.result(20) for one in panel.ask(PROMPT)]


def test_a_member_that_fails_or_is_slow_is_left_out_and_said_so(server: ChatServer) -> None:
    assert server.url
    panel = Panel(ensemble("honest", "broken", "slow"))
    start = time.monotonic()
    honest, broken, slow = asked(panel)
    assert time.monotonic() - start < 5
    panel.close()
    assert (honest.state, honest.text) == ("answered", "The rain is forecast to be 73 %.")
    assert (broken.state, broken.why[:12]) == ("failed", "answered 500")
    assert (slow.state, slow.why) == ("slow", "no answer within 0.5 s")
    assert 0.5 <= slow.seconds < 2


def test_a_slow_member_is_left_alone_for_a_while(server: ChatServer) -> None:
    panel = Panel(ensemble("slow", rest_seconds=0.5))
    asked(panel)
    (resting,) = asked(panel)
    assert resting.state == "left alone"
    assert resting.why == "for 0.5 s after: no answer within 0.5 s"
    assert len(server.asked) == 1
    time.sleep(0.6)
    asked(panel)
    panel.close()
    assert len(server.asked) == 2


def test_requests_of_several_threads_go_together(server: ChatServer) -> None:
    server.seconds = 0.2
    panel = Panel(ensemble("honest", batch_wait_ms=50))
    waiting = [panel.ask(PROMPT)[0] for _ in range(6)]
    assert {one.result(10).text for one in waiting} == {"The rain is forecast to be 73 %."}
    panel.close()
    assert server.most_at_once == 6


def answer(member: str, weight: float, text: str = "") -> Answer:
    return Answer(member, weight, "answered" if text else "failed", 0.1, text)


def test_weights_of_those_who_say_the_same_are_added() -> None:
    answers = [answer("a", 1.0, "x"), answer("b", 0.7, "y"), answer("c", 0.6, "y"), answer("d", 9)]
    assert supports(answers, lambda _one: 1.0) == pytest.approx({"x": 1.0, "y": 1.3})
    assert best(answers, lambda _one: 1.0) == "y"
    assert best(answers, lambda one: float(one.text == "x")) == "x"
    assert best(answers, lambda _one: 0.0) is None
    assert best([answer("a", 1, "x"), answer("b", 1, "y")], lambda _one: 1.0) == "x"
