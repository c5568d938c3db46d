"""The thread of a worker that reports every second that it is alive, and which jobs it runs."""

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
"""Seconds between two heartbeats."""

RUN = Path("run")
FILE = "beat"


def place(queue: str) -> Path:
    return RUN / f"worker-{queue}" / FILE


class Heart:
    """Sends heartbeats while the worker is alive; without them, its jobs are given to others."""

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
        """Start sending heartbeats."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and sign the worker off."""
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
            except Exception:  # the next heartbeat may succeed
                log.exception("a heartbeat failed")
            self._stop.wait(BEAT)

    def beat(self) -> None:
        """Renew the leases of this worker's jobs, and queue jobs that no worker holds."""
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
        """Start no more jobs while Redis has no room for their results."""
        full = self.attempts.store.memory().spent
        if full and not self.broker.full:
            log.warning("Redis is full: no more jobs are started until results expire")
        if self.broker.full and not full:
            log.warning("Redis has room again: jobs are started")
        self.broker.full = full

    def record(self) -> dict[str, Any]:
        """Return what is reported about this worker."""
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
        """Write the report to the file, which updates its time."""
        temporary = self.file.with_name(f".{FILE}")
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(self.file)
