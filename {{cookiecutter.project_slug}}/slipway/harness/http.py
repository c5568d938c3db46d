"""Requests to a running stack, as its clients send them: at once, slowly, or too many."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slipway.harness.scenarios import Send

PATIENCE = 15.0
"""Seconds that a client waits for an answer."""
PIECES = 20
"""Into how many a body is cut that is sent slowly."""
SHOWN = 300
"""Characters of an answer that a message has."""
PAUSE = 0.2
"""Seconds between requests that go on while something is done, which keeps to the rate limit."""
AFTERWARDS = 3.0
"""Seconds that they go on after it."""


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where nothing did, and then the text says why."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in small letters."""
    seconds: float = 0

    def json(self) -> Any:  # noqa: ANN401 - whatever was answered
        """Return the body as JSON; None where it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    def __str__(self) -> str:
        """Return status and the start of the body, for a message."""
        text = " ".join(self.text.split())
        return f"{self.status} {text if len(text) <= SHOWN else text[:SHOWN] + '...'}"


def content(step: Send) -> bytes | None:
    """Return the body of a request."""
    if step.size:
        return b'"' + b"x" * (step.size - 2) + b'"'
    if step.text is not None:
        return step.text.encode()
    return None if step.body is None else json.dumps(step.body).encode()


def ask(base: str, step: Send) -> Answer:
    """Send a request once; what goes wrong is an answer too."""
    start = time.monotonic()
    try:
        status, headers, text = _ask(base, step)
    except (OSError, HTTPException) as error:
        said = f"{type(error).__name__}: {error}"
        return Answer(0, said, seconds=time.monotonic() - start)
    return Answer(status, text, headers, time.monotonic() - start)


def _ask(base: str, step: Send) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(base)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        _send(connection, step, content(step))
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _send(connection: HTTPConnection, step: Send, body: bytes | None) -> None:
    connection.putrequest(step.method, step.path)
    headers = {} if body is None else {"Content-Type": "application/json"}
    for name, value in (headers | dict(step.headers)).items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    if body is not None:
        cut = pieces(body, PIECES if step.slowly else 1)
        for piece in cut:
            time.sleep(step.slowly / len(cut))
            connection.send(piece)


def pieces(body: bytes, count: int) -> list[bytes]:
    """Cut a body into at most so many pieces of one length."""
    length = max(1, -(-len(body) // count))
    return [body[start : start + length] for start in range(0, len(body), length)]


def ask_many(base: str, step: Send) -> list[Answer]:
    """Send a request as many times as the step says, by as many clients at once."""
    with ThreadPoolExecutor(step.clients) as pool:
        return list(pool.map(lambda _: ask(base, step), range(step.times)))


def ask_during(base: str, step: Send, act: Callable[[], object]) -> list[Answer]:
    """Go on sending a request, by every client in turn, while something is done and after it."""
    answers: list[Answer] = []
    over = Event()

    def go_on(_client: int) -> None:
        while not over.wait(PAUSE * step.clients):
            answers.append(ask(base, step))

    with ThreadPoolExecutor(step.clients) as pool:
        going = pool.map(go_on, range(step.clients))
        try:
            act()
            over.wait(AFTERWARDS)
        finally:
            over.set()
        list(going)
    return answers
