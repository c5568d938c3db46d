"""In which order the messages of a queue are taken, on a real server."""

import pytest
from dramatiq.broker import MessageProxy
from pydantic import SecretStr

from ..broker import TURN, Broker, Lines
from ..store import Priority, Store
from .kinds import NAMED, QUEUE


def submit(store: Store, priority: Priority) -> str:
    return store.submit(NAMED["work"], "{}", "", priority)[0]


def take(line: Lines) -> str:
    """Take a message and be done with it; return the job that it is of."""
    message = line.take()
    assert isinstance(message, MessageProxy)
    line.ack(message)
    return str(message.args[0])


@pytest.mark.parametrize("waits", ["normal", "low"])
def test_a_lower_line_is_held_up_for_some_messages_only(
    store: Store, variables: dict[str, str], waits: Priority
) -> None:
    """What is urgent keeps coming, and what is between the two is never empty either."""
    taken = Lines(Broker(SecretStr(variables["REDIS_URL"]), 2), QUEUE)
    mine = submit(store, waits)
    for _ in range(2 * TURN):
        submit(store, "high")
    if waits == "low":
        for _ in range(2 * TURN):
            submit(store, "normal")
    order = [take(taken) for _ in range(2 * TURN)]
    assert order.index(mine) >= TURN - 1  # what is urgent is first otherwise
    priorities = [(store.get(number) or {})["priority"] for number in order]
    assert priorities.count("high") == 2 * TURN - 2 + (waits == "normal")


def test_turns_are_not_lost_on_empty_lines(store: Store, variables: dict[str, str]) -> None:
    taken = Lines(Broker(SecretStr(variables["REDIS_URL"]), 2), QUEUE)
    for _ in range(3 * TURN):
        assert taken.take() is None
    low, high = submit(store, "low"), submit(store, "high")
    assert [take(taken), take(taken)] == [high, low]
