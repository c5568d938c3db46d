"""Jobs, queues and workers in the form of the API."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .store import Priority, State

EXAMPLE: dict[str, Any] = {
    "id": "5f0c8a7de0c84f5f9f0f2a53a2f2b7a1",  # pragma: allowlist secret
    "kind": "explain",
    "key": "morning-report-2026-11-22",
    "state": "running",
    "priority": "normal",
    "attempts": 1,
    "progress": 0.4,
    "said": "2 of 5",
    "created_at": "2026-11-22T08:30:00Z",
    "started_at": "2026-11-22T08:30:01Z",
}


TIMES = ("created", "started", "finished", "due")


def moment(written: str) -> dt.datetime | None:
    """Return a time that the store has as seconds since 1970."""
    return dt.datetime.fromtimestamp(float(written), dt.UTC) if written else None


class JobView(BaseModel):
    """A job: its state, and its result once there is one."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str
    kind: str
    key: str = Field(description="A request with the same key returns this job")
    state: State
    priority: Priority
    attempts: int = Field(description="Number of attempts")
    progress: float = Field(0.0, description="Fraction done, 0 to 1")
    said: str = Field("", description="Current step")
    result: dict[str, Any] | None = Field(None, description="Result, once it is done")
    error: str | None = Field(None, description="Why the last attempt failed")
    cancelling: bool = Field(
        default=False, description="Whether it was asked to stop and has not yet"
    )
    created_at: dt.datetime
    started_at: dt.datetime | None = Field(None, description="Start of the last attempt")
    finished_at: dt.datetime | None = None
    due_at: dt.datetime | None = Field(None, description="Time of the next attempt")

    @classmethod
    def of(cls, told: Mapping[str, str]) -> "JobView":
        """Return a job in the form of the API."""
        return cls.model_validate(
            {
                **{name: told[name] for name in ("id", "kind", "key", "state", "priority", "said")},
                "attempts": int(told["attempts"] or 0),
                "progress": float(told["progress"] or 0),
                "result": json.loads(told["result"]) if told["result"] else None,
                "error": told["error"] or None,
                "cancelling": told["cancel"] == "1" and told["state"] == "running",
                **{f"{name}_at": moment(told[name]) for name in TIMES},
            }
        )


class QueueView(BaseModel):
    """The work in a queue."""

    queue: str
    depth: int = Field(description="Jobs waiting for a worker")
    waiting: dict[str, int] = Field(description="Waiting jobs by priority")
    oldest_seconds: float = Field(description="How long the oldest has waited")
    running: int
    delayed: int = Field(description="Failed jobs waiting for a retry")
    dead: int = Field(description="Dead letters: failed for good, can be queued again")


class RunningView(BaseModel):
    """A job that a worker is running."""

    id: str
    kind: str
    attempt: int
    seconds: float = Field(description="Seconds since it started")


class WorkerView(BaseModel):
    """A worker that has reported recently."""

    name: str
    queue: str
    host: str
    threads: int = Field(description="Jobs it runs at once")
    draining: bool = Field(description="Whether it is shutting down and takes no more jobs")
    jobs: list[RunningView]
    started_at: dt.datetime


class MemoryView(BaseModel):
    """The memory that Redis uses for jobs, results and everything else."""

    used_bytes: int
    limit_bytes: int = Field(description="No job is accepted above this; 0: no limit")


class JobsView(BaseModel):
    """All queues, their workers and the dead letters."""

    queues: list[QueueView]
    memory: MemoryView
    workers: list[WorkerView]
    dead_letters: list[JobView] = Field(description="The newest of each queue")
