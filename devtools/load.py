"""A constant load on POST /predict, from a separate process."""

import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import cycle, pairwise
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import NamedTuple
from urllib.parse import urlsplit

CLIENTS = 4
RATE = 40
"""Requests per second, over all clients."""
PATIENCE = 30.0
OK = 200
HEADERS = {"Content-Type": "application/json"}
MILLISECOND = 0.001


class Answer(NamedTuple):
    """When a request was due and when it was answered, in seconds of the monotonic clock.

    The wait counts from when the request was due, so that one that is held up by the one before
    it counts too. The status is 0 where no answer came.
    """

    due: float
    done: float
    status: int
    version: str


class Load:
    """The answers to a load; complete once the load is over."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def within(self, windows: Iterable[tuple[float, float]]) -> list[Answer]:
        """Return the answers to requests that were due within one of these spans."""
        spans = list(windows)
        return [one for one in self.answers if any(a <= one.due < b for a, b in spans)]


@contextmanager
def load(url: str, bodies: Sequence[dict[str, object]]) -> Iterator[Load]:
    """Send requests at a constant rate while the block runs; consecutive ones differ."""
    context, found = multiprocessing.get_context("spawn"), Load()
    over = context.Event()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_ask, args=(url, bodies, over, there), daemon=True)
    process.start()
    try:
        yield found
        over.set()
        found.answers = sorted(here.recv())
    finally:
        over.set()
        process.join(PATIENCE)
        process.kill()


def _ask(url: str, bodies: Sequence[dict[str, object]], over: Event, found: Connection) -> None:
    """Run in the separate process: one thread per client."""
    answers: list[Answer] = []
    start = time.monotonic()
    threads = [
        threading.Thread(
            target=_client,
            args=(url, bodies[number::CLIENTS], start + number / RATE, over, answers),
        )
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.send(answers)


def _client(
    url: str, bodies: Sequence[dict[str, object]], due: float, over: Event, answers: list[Answer]
) -> None:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    for body in cycle(bodies):
        if over.wait(max(0.0, due - time.monotonic())):
            return
        try:
            connection.request("POST", "/predict", json.dumps(body), HEADERS)
            answer = connection.getresponse()
            said, status = json.loads(answer.read()), answer.status
            version = said["version"] if status == OK else ""
        except (OSError, HTTPException, ValueError):
            connection.close()
            status, version = 0, ""
        answers.append(Answer(due, time.monotonic(), status, version))
        due += CLIENTS / RATE


def failed(answers: Iterable[Answer]) -> int:
    """Count requests that got no forecast."""
    return sum(one.status != OK for one in answers)


def p99(answers: Iterable[Answer]) -> float:
    """Return the 99th percentile of latency in ms."""
    waits = [(one.done - one.due) / MILLISECOND for one in answers]
    return statistics.quantiles(waits, n=100)[98]


def outage(answers: Iterable[Answer]) -> float:
    """Return the longest time without a forecast, in seconds."""
    came = sorted(one.done for one in answers if one.status == OK)
    return max((b - a for a, b in pairwise(came)), default=0.0)
