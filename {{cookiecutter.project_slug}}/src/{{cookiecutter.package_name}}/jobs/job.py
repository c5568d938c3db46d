"""A job as the function sees it that does the work."""

import threading
import time
from collections.abc import Callable

from ..shared.console import AppError

OFTEN = 0.2
"""Seconds between two reports of progress; those between them are not sent."""


class Unrecoverable(AppError):  # noqa: N818 - what it says of a job, not of the program
    """The job cannot be done, however often it is tried: it is a dead letter at once."""


class Cancelled(Exception):  # noqa: N818 - the same
    """Go on no longer: the job was cancelled, its time is up, or the worker has to end.

    Whoever catches it to put something away raises it again.
    """


class Job:
    """What the function gets beside the payload; made by hand, as in a test, it reports to nobody.

    `key` is the same however often the job is tried, and for whoever asks for the same again: what
    is done outside of the application is done once if it is done under this key.
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
        """Tell how much is done (0 to 1) and, in a few words, what is going on.

        Raises Cancelled if the job is to go on no longer; call it every second or so.
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
        """Have it go on no longer; any thread may say so."""
        self._stop.set()
