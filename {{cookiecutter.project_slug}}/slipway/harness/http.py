"""Requests to a running stack, as clients send them: many at once, slowly, or all the time."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

import httpx

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

PATIENCE = 15.0
"""Seconds that a client waits for an answer."""
PIECES = 20
"""How many pieces a body is cut into that is sent slowly."""
EXCERPT = 300
"""How many characters of an answer a message holds."""
AFTERWARDS = 3.0
"""Seconds that traffic goes on after the block."""
BETWEEN = 0.25
"""Seconds between two attempts."""
log = logging.getLogger(__name__)


class ScenarioClient(httpx.Client):
    """Sends requests to one address, each on a connection of its own, and remembers the last."""

    def __init__(self, url: str) -> None:
        """Take the address; this machine's own proxy settings do not count."""
        super().__init__(
            base_url=url,
            timeout=PATIENCE,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            event_hooks={"response": [self._remember]},
        )
        self.last = ""
        """The last request and its answer, for a message."""

    def _remember(self, answer: httpx.Response) -> None:
        answer.read()
        request = answer.request
        path = request.url.raw_path.decode()
        self.last = f"{request.method} {path}: {answer.status_code} {excerpt(answer.text)}"
        log.info("%s (%.2f s)", self.last, answer.elapsed.total_seconds())


def excerpt(text: str) -> str:
    """Return the start of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[:EXCERPT]}..."


class Attempt:
    """One of several attempts: it may fail as long as there is time for another."""

    def __init__(self, deadline: float) -> None:
        """Take the time after which no other attempt follows."""
        self.deadline = deadline
        self.passed = False

    def __enter__(self) -> None:
        """Begin it."""

    def __exit__(
        self, _kind: object, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        """Suppress a failure, unless this was the last attempt."""
        self.passed = error is None
        expected = isinstance(error, (AssertionError, httpx.HTTPError, Refused))
        return expected and time.monotonic() < self.deadline


def within(seconds: float) -> Iterator[Attempt]:
    """Yield attempts until one passes; after so many seconds, the next one's failure counts.

    for attempt in within(30):
        with attempt:
            assert client.get("/health").is_success
    """
    deadline = time.monotonic() + seconds
    while True:
        yield (attempt := Attempt(deadline))
        if attempt.passed:
            return
        time.sleep(BETWEEN)


def at_once(
    send: Callable[[], httpx.Response], *, times: int, clients: int
) -> list[httpx.Response]:
    """Send a request so many times, by so many clients at once."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda _: send(), range(times)))


@contextmanager
def traffic(
    send: Callable[[], httpx.Response], *, clients: int = 1, every: float = 0.2
) -> Iterator[list[httpx.Response]]:
    """Send a request again and again during a block and for a while after it; give the answers.

    The clients take turns, one `every` so many seconds: a block that takes long must not reach the
    rate limit. A request that is not answered fails the block.
    """
    answers: list[httpx.Response] = []
    over = Event()

    def keep_sending() -> None:
        while not over.wait(every * clients):
            answers.append(send())

    with ThreadPoolExecutor(clients) as pool:
        sending = [pool.submit(keep_sending) for _ in range(clients)]
        try:
            yield answers
            over.wait(AFTERWARDS)
        finally:
            over.set()
        for client in sending:
            client.result()


def slowly(body: bytes, seconds: float) -> Iterator[bytes]:
    """Yield a body in pieces, over so many seconds."""
    cut = pieces(body, PIECES)
    for piece in cut:
        time.sleep(seconds / len(cut))
        yield piece


def pieces(body: bytes, count: int) -> list[bytes]:
    """Cut a body into at most so many pieces of the same length."""
    length = max(1, -(-len(body) // count))
    return [body[start : start + length] for start in range(0, len(body), length)]
