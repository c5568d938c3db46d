"""The thread that watches the models' links."""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from .answers import Answers
from .reports import Reporter
from .serving import Model, Models, into

log = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between two looks at the links."""

SLOWEST = 0.5
"""Seconds that a count may be old before it is reported."""

BEAT = 2.0
"""Seconds after which the same is reported again, for whoever sees no lock."""

NICENESS = 10


class Watcher:
    """Checks the links repeatedly, and reports the result."""

    def __init__(self, models: Models, answers: Answers, reporter: Reporter) -> None:
        self.models, self.answers, self.reporter = models, answers, reporter
        self._wake, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._reported: tuple[object, ...] = ()
        self._counted, self._next = -1, 0.0
        self.report()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and withdraw the report."""
        self._stopped = True
        self._wake.set()
        if self._thread.ident:
            self._thread.join()
        self.reporter.close()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(POLL)
            self._wake.clear()
            try:
                self.models.look(self._begin)
                self.report()
            except Exception:  # whatever it is, the next look may go better
                log.exception("the models' links could not be read")

    def _begin(self, work: Callable[[], Model]) -> Future[Model]:
        future = beside(work)
        future.add_done_callback(lambda _: self._wake.set())
        return future

    def report(self) -> None:
        """Report a change at once; counts and failed writes after a while."""
        state, counted = (self.models.touched, dict(self.models.places)), self.answers.version
        late = time.monotonic() - self._next
        due = late >= 0 and (self.reporter.wrong or counted != self._counted or late >= BEAT)
        if state != self._reported or due:
            self.reporter.write(self.reporter.report(self.models, self.answers))
            self._reported, self._counted = state, counted
            self._next = time.monotonic() + SLOWEST


def beside(work: Callable[[], Model]) -> Future[Model]:
    """Load a model in a separate thread with a lower priority than requests.

    The links are watched meanwhile: a load that takes long, or never ends, is abandoned when
    another model is wanted.
    """
    # onnxruntime lets go of the interpreter while it loads: in the 1.5 s that 30 MB took, a thread
    # that wakes every millisecond was 10 ms late at the 99th percentile, as it is without a load.
    # skops and what is pickled hold on to it, and so hold requests up.
    future: Future[Model] = Future()

    def run() -> None:
        with suppress(OSError):  # elsewhere than on Linux a thread has no niceness of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        into(future, work)

    threading.Thread(target=run, name="loader", daemon=True).start()
    return future
