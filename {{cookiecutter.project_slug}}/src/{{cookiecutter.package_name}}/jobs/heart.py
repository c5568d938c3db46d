"""The thread of a worker that says every second that it lives, and at which jobs it is."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from .attempts import PATIENCE, Attempts
from .broker import Broker

log = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds from one beat to the next."""

RUN = Path("run")
FILE = "beat"


def place(queue: str) -> Path:
    return RUN / f"worker-{queue}" / FILE


class Heart:
    """Beats as long as the worker lives; whoever hears nothing of it gives its jobs to another."""

    def __init__(
        self, queue: str, broker: Broker, attempts: Attempts, lost: Callable[[], object]
    ) -> None:
        """Take what to call when a thread is lost to a job that cannot be interrupted."""
        self.queue, self.broker, self.attempts, self.lost = queue, broker, attempts, lost
        self.file = place(queue)
        self.started = time.time()
        self._reached = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and be gone for the others."""
        self._stop.set()
        self._thread.join(BEAT * 5)
        try:
            self.attempts.store.leave(self.attempts.worker)
        except RedisError as error:
            log.warning("Redis failed: %s", error)
        self.file.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.beat()
                self._reached = True
            except RedisError as error:
                if self._reached:
                    log.warning("Redis failed; retrying: %s", error)
                self._reached = False
            except Exception:  # whatever it is, the next beat may go better
                log.exception("a heartbeat failed")
            self._stop.wait(BEAT)

    def beat(self) -> None:
        """Hold the jobs of this worker, and look after those that nobody holds."""
        self.broker.beat(self.queue)
        going = list(self.attempts.going.values())
        claims = [one.claim for one in going]
        record = self.record()
        verdicts = self.attempts.store.beat(self.attempts.worker, record, claims)
        for one, verdict in zip(going, verdicts, strict=True):
            if verdict:
                one.stop(verdict)
            if one.late > 0:
                one.interrupt()
        if self.attempts.give_up([one for one in going if one.late > PATIENCE]):
            self.lost()
        self.attempts.store.sweep(self.queue)
        self.measure()
        self.write(record)

    def measure(self) -> None:
        """Have no more jobs begun while their results would have no room."""
        full = self.attempts.store.memory().spent
        if full and not self.broker.full:
            log.warning("Redis is full: no more jobs are started until results expire")
        if self.broker.full and not full:
            log.warning("Redis has room again: jobs are started")
        self.broker.full = full

    def record(self) -> dict[str, Any]:
        """Return what is said of this worker."""
        now = time.monotonic()
        return {
            "queue": self.queue,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self.started,
            "threads": self.broker.threads,
            "draining": self.broker.draining,
            "jobs": [
                {
                    "id": one.claim.id,
                    "kind": one.claim.kind,
                    "attempt": one.claim.attempt,
                    "seconds": round(now - one.since, 1),
                    "stuck": one.late > PATIENCE,
                }
                for one in list(self.attempts.going.values())
            ],
        }

    def write(self, record: dict[str, Any]) -> None:
        """Touch the file, with what is said."""
        temporary = self.file.with_name(f".{FILE}")
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(self.file)
