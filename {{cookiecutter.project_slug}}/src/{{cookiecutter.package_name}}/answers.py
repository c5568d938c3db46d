"""Counts of forecasts by outcome and by the model that was used."""

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the times that are counted together, in seconds; one more is for the rest."""

KEPT = 16
"""Models whose counts are kept, those that were asked last."""

SERVER_ERROR = 500
PATH = "/predict"


@dataclass
class Count:
    """One model's counts: requests, unanswered ones, failures of the model, and durations."""

    requests: int = 0
    errors: int = 0
    failures: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class Answers:
    """The counts of one process, by model file; thread-safe."""

    def __init__(self) -> None:
        self.version = 0
        self._counts: dict[str, Count] = {}
        self._lock = Lock()

    def add(self, file: str, seconds: float, status: int) -> None:
        """Count an answer."""
        with self._lock:
            count = self._of(file)
            count.requests += 1
            count.errors += status >= SERVER_ERROR
            count.buckets[bisect_left(BOUNDS, seconds)] += 1

    def fail(self, file: str) -> None:
        with self._lock:
            self._of(file).failures += 1

    def counts(self) -> dict[str, Count]:
        """Return the counts as they are now."""
        with self._lock:
            return {
                file: Count(one.requests, one.errors, one.failures, list(one.buckets))
                for file, one in self._counts.items()
            }

    def _of(self, file: str) -> Count:
        self.version += 1
        count = self._counts[file] = self._counts.pop(file, Count())
        if len(self._counts) > KEPT:
            del self._counts[next(iter(self._counts))]
        return count


class Counting:
    """Middleware that counts the answers of POST /predict, including failures.

    The endpoint sets the model in the request's state (`asked`); a request without one
    is not counted.
    """

    def __init__(self, app: ASGIApp, answers: Callable[[], Answers]) -> None:
        self.app = app
        self.answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", PATH):
            await self.app(scope, receive, send)
            return
        status, started = SERVER_ERROR, time.perf_counter()
        state = scope.setdefault("state", {})

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if file := state.get("asked"):
                self.answers().add(file, time.perf_counter() - started, status)
