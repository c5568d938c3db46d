"""A client that asks for predictions all the time, and what it was answered."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAUSE = 0.005
PATIENCE = 60.0


class Answer(NamedTuple):
    """When it was asked for, its status (0: none came), and the version that made it."""

    sent: float
    status: int
    version: str


class Traffic:
    """Asks in a thread of its own; each time over a new connection, to meet every process."""

    def __init__(self, api: str, bodies: Sequence[dict[str, Any]]) -> None:
        """Ask with these bodies in turn."""
        self.url = f"{api}/predict"
        self.bodies = cycle([json.dumps(body).encode() for body in bodies])
        self.answers: list[Answer] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.over = False

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.thread.join(PATIENCE)

    def _run(self) -> None:
        while not self.over:
            self.answers.append(self._ask(next(self.bodies)))
            time.sleep(PAUSE)

    def _ask(self, body: bytes) -> Answer:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url, body, headers)
        sent = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return Answer(sent, answer.status, json.load(answer)["version"])
        except urllib.error.HTTPError as error:
            with error:
                return Answer(sent, error.code, error.read().decode(errors="replace"))
        except OSError as error:
            return Answer(sent, 0, str(error))

    @contextmanager
    def only(self, *versions: str, lost: int = 0) -> Iterator[None]:
        """Check that all that is asked in the block is answered, and by one of these versions.

        A request that a replica held that hung may be lost to the proxy (status `lost`).
        """
        start = time.monotonic()
        yield
        end = time.monotonic()
        while not self.answers or self.answers[-1].sent < end:
            assert time.monotonic() < end + PATIENCE, "no answer came"
            time.sleep(PAUSE)
        asked = [answer for answer in list(self.answers) if answer.sent >= start]
        kept = [answer for answer in asked if answer.status != lost or not lost]
        wrong = [one for one in kept if one.status != 200 or one.version not in versions]
        assert not wrong, f"{len(wrong)} of {len(asked)} were not by {versions}: {wrong[:3]}"
