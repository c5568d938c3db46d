"""Kinds of job for the tests: they do nothing but what their payload says."""

import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..job import Cancelled, Job, Unrecoverable
from ..kinds import Kind

QUEUE = "tests"


class Work(BaseModel):
    """What a job of the tests is to do."""

    seconds: float = 0.0
    """How long it takes the first time; later it is quick."""
    file: Path | None = None
    """It writes a line here when it begins, and another when it ends."""
    failures: int = 0
    """How often it fails before it does not."""
    name: str = ""
    filling: int = 0
    """So many letters are in its result."""


def note(work: Work, job: Job, what: str) -> None:
    if work.file:
        with work.file.open("a", encoding="utf-8") as file:
            file.write(f"{what} {work.name or job.id} {job.attempt}\n")


def seconds(work: Work, job: Job) -> float:
    """Return how long it takes this time."""
    before = work.file.read_text(encoding="utf-8") if work.file and work.file.exists() else ""
    return 0.1 if f"begun {work.name or job.id} " in before else work.seconds


def work(payload: Work, job: Job) -> dict[str, Any]:
    """Take its time, and say how far it is."""
    takes = seconds(payload, job)
    note(payload, job, "begun")
    if job.attempt <= payload.failures:
        raise RuntimeError(f"failure {job.attempt}")
    end = time.monotonic() + takes
    while (left := end - time.monotonic()) > 0:
        try:
            job.progress(1 - left / takes, "working")
        except Cancelled:
            note(payload, job, "stopped")
            raise
        time.sleep(min(left, 0.02))
    note(payload, job, "ended")
    filling = {"filling": "x" * payload.filling} if payload.filling else {}
    return {"name": payload.name, "attempt": job.attempt, **filling}


def stubborn(payload: Work, job: Job) -> dict[str, Any]:
    """Take its time, and hear nothing."""
    takes = seconds(payload, job)
    note(payload, job, "begun")
    end = time.monotonic() + takes
    while time.monotonic() < end:
        time.sleep(0.02)
    note(payload, job, "ended")
    return {}


def asleep(payload: Work, job: Job) -> dict[str, Any]:
    """Take its time where no exception reaches it."""
    note(payload, job, "begun")
    time.sleep(payload.seconds)
    return {}


def hopeless(payload: Work, job: Job) -> dict[str, Any]:
    raise Unrecoverable(f"{payload.name} cannot be done by {job.attempt}")


HERE = "jobs.tests.kinds"
KINDS = (
    Kind("work", QUEUE, Work, f"{HERE}:work", max_attempts=3, time_limit=60),
    Kind("stubborn", QUEUE, Work, f"{HERE}:stubborn", max_attempts=1, time_limit=60),
    Kind("short", QUEUE, Work, f"{HERE}:stubborn", max_attempts=1, time_limit=0.5),
    Kind("asleep", QUEUE, Work, f"{HERE}:asleep", max_attempts=2, time_limit=0.5),
    Kind("hopeless", QUEUE, Work, f"{HERE}:hopeless", max_attempts=3, time_limit=60),
)
NAMED = {kind.name: kind for kind in KINDS}
