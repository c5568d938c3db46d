"""A job, as seen by the function that runs it."""

import threading
import time
from collections.abc import Callable

from ..shared.console import AppError

OFTEN = 0.2
"""Seconds between two progress reports; those in between are dropped."""


class Unrecoverable(AppError):  # noqa: N818 - what it says of a job, not of the program
    """The job cannot succeed, however often it is tried: it becomes a dead letter at once."""


class Cancelled(Exception):  # noqa: N818 - the same
    """The job has to stop: it was cancelled, its time is up, or the worker is shutting down.

    A function may catch it to clean up, and has to raise it again.
    """


class Job:
    """What a job's function receives beside the payload. One made in a test reports to nobody.

    `key` is the same for every attempt, and for every request with the same key: pass it on to
    outside services, so that they do what they are asked only once.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the name that it has in every answer
        key: str = "",
        attempt: int = 1,
        report: Callable[[float, str], None] | None = None,
    ) -> None:
        self.id, self.key, self.attempt = id, key or id, attempt
        self._report, self._next = report, 0.0
        self._stop = threading.Event()

    def progress(self, fraction: float, said: str = "") -> None:
        """Report the fraction done (0 to 1) and, in a few words, what is in progress.

        Raises Cancelled if the job has to stop, so call it about every second.
        """
        if self.cancelled():
            raise Cancelled
        now = time.monotonic()
        if self._report and now >= self._next:
            self._report(min(max(fraction, 0.0), 1.0), said)
            self._next = now + OFTEN

    def cancelled(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Tell the job to stop; safe to call from any thread."""
        self._stop.set()
