"""The worker of a queue: `python -m <package>.jobs.worker <queue>`.

It runs up to <QUEUE>_WORKER_CONCURRENCY jobs at a time. On SIGTERM it takes no more jobs, gives
running ones the grace period to finish, and returns the rest to the queue. If a job exceeds its
time limit and cannot be interrupted, the others are returned, and a new process replaces this one.
"""

import argparse
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress

import dramatiq
from dramatiq.worker import Worker
from redis.exceptions import RedisError

from .. import logs
from ..settings import Settings, load
from ..shared.console import AppError, run
from . import kinds
from .attempts import Attempts, Function
from .broker import ACTOR, Broker
from .heart import Heart
from .kinds import Kind
from .store import Store

log = logging.getLogger(__name__)

GRACE = 20.0
"""Seconds that jobs may run on after SIGTERM; compose waits 30 before it kills."""

PUTTING_AWAY = 2.0
"""Seconds after that for jobs to clean up."""

POLL = 0.05


class Process:
    """A worker: its connections, threads and heartbeat."""

    def __init__(
        self, queue: str, threads: int, settings: Settings, lost: Callable[[], object]
    ) -> None:
        of_queue = {name: kind for name, kind in kinds.installed().items() if kind.queue == queue}
        if not of_queue:
            there = ", ".join(kinds.queues(kinds.installed().values())) or "none"
            raise AppError(f"no kind of job uses the queue {queue!r}; the queues are: {there}")
        name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.store = Store(settings.redis_url)
        self.attempts = Attempts(self.store, of_queue, functions(of_queue), name)
        self.broker = Broker(settings.redis_url, threads)
        self.broker.declare_queue(queue)
        dramatiq.Actor(
            self.attempts.make,
            broker=self.broker,
            actor_name=ACTOR,
            queue_name=queue,
            priority=0,
            options={},
        )
        self.heart = Heart(queue, self.broker, self.attempts, lost)
        self.worker = Worker(
            self.broker, queues={queue}, worker_threads=threads, worker_timeout=100
        )

    def start(self) -> None:
        """Start taking jobs."""
        self.heart.start()
        self.worker.start()

    def stop(self, grace: float) -> None:
        """Take no more jobs; let running ones finish within the grace period, or return them."""
        self.broker.drain()
        self._await(grace)
        self.attempts.end()
        self._await(PUTTING_AWAY)
        with suppress(RedisError):
            self.attempts.give_back()
        self.attempts.over.set()
        with suppress(RedisError):
            self.worker.stop(timeout=1000)
        self.heart.stop()

    def _await(self, seconds: float) -> None:
        """Wait until no job is running or about to run, up to a limit."""
        limit = time.monotonic() + seconds
        while self.broker.held and time.monotonic() < limit:
            time.sleep(POLL)


def functions(of_queue: Mapping[str, Kind]) -> dict[str, Function]:
    """Import the functions that run jobs."""
    package = __package__.rpartition(".")[0]
    found = {}
    for name, kind in of_queue.items():
        module, _, function = kind.run.partition(":")
        found[name] = getattr(importlib.import_module(f"{package}.{module}"), function)
    return found


def concurrency(queue: str) -> int:
    """Return how many jobs run at a time."""
    variable = f"{queue.upper().replace('-', '_')}_WORKER_CONCURRENCY"
    given = os.environ.get(variable) or "2"
    if not given.isdecimal() or not 1 <= int(given) <= 1000:  # noqa: PLR2004 - threads have a price
        raise AppError(f"environment variable {variable}: should be 1 to 1000 (got {given!r})")
    return int(given)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the jobs of a queue.")
    parser.add_argument("queue")
    parser.add_argument(
        "--grace", type=float, default=GRACE, help="seconds that running jobs have to finish"
    )
    told = parser.parse_args()
    settings = load(Settings)
    logs.configure(settings.log_level)
    ended, asked = threading.Event(), threading.Event()
    process = Process(told.queue, concurrency(told.queue), settings, ended.set)

    def end(*_: object) -> None:
        asked.set()
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    process.start()
    log.info("taking jobs from queue %s, %d at once", told.queue, process.broker.threads)
    ended.wait()
    log.info("taking no more jobs; %d still running", len(process.attempts.going))
    process.stop(told.grace if asked.is_set() else 0)
    if not asked.is_set():
        log.warning("starting again, because a job could not be interrupted")
        logging.shutdown()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - its own command line
    left = len(process.attempts.going)
    log.info("stopped; %d jobs returned to the queue", left)
    if left:  # threads of unfinished jobs would crash at the interpreter's shutdown
        logging.shutdown()
        os._exit(0)


if __name__ == "__main__":
    run(main)
