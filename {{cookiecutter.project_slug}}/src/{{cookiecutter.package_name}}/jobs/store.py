"""The jobs in Redis: the state of each, its result, and the workers.

Every change is one atomic script (store.lua). Each attempt has its own token, and only the attempt
that holds a job can record its outcome: an attempt that was given up, because its worker was not
heard from, is too late. So a job has one result, however often it was tried.
"""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import SecretStr
from redis import Redis
from redis.exceptions import OutOfMemoryError

from ..cache import connect
from .broker import FULL_TOO, PRIORITIES
from .kinds import Kind

PREFIX = "jobs:"
SCRIPT = (Path(__file__).parent / "store.lua").read_text(encoding="utf-8")

Priority = Literal["high", "normal", "low"]
State = Literal["queued", "running", "done", "dead", "cancelled"]
Verdict = Literal["", "cancelled", "lost"]
FINAL = {"done", "dead", "cancelled"}

TIMEOUT = 3.0
"""Seconds to wait for Redis."""

LEASE = 6.0
"""Seconds without a heartbeat after which a job is given to another worker."""

CALM = 3.0
"""Seconds of silence from all workers, as while Redis is down, after which no job is taken from a
worker for as long again: those that are alive have to report first."""

KEPT = 86_400
"""Seconds that a job and its key are kept after it is done or cancelled."""

KEPT_DEAD = 30 * 86_400
"""Seconds that a dead letter is kept."""

LOSSES = 5
"""Workers that may die during a job, which may be what kills them."""

GONE = 10.0
"""Seconds without a heartbeat after which a worker counts as gone."""

SHOWN = 100
"""Dead letters to list, newest first."""

RESULT_MAX = 2**20
"""Maximum size of a result, in bytes of JSON."""

RESERVE = 0.2
"""Fraction by which Redis may exceed its limit before no more jobs are started. Running jobs still
finish, and their results are kept."""

ERROR_MAX = 2000
"""Characters of an error to keep."""

FIELDS = (
    *("id", "kind", "queue", "priority", "key", "state", "version", "attempts", "failures"),
    *("losses", "progress", "said", "result", "error", "cancel", "worker"),
    *("created", "started", "finished", "due"),
)
"""The fields of a job that are returned: all but its payload and token."""


class TakenError(ValueError):
    """The key belongs to a job with a different payload."""


class FullError(Exception):
    """Redis has no memory for another job."""


@dataclass(frozen=True)
class Claim:
    """A job that an attempt holds, with what it needs to run."""

    id: str
    token: str
    kind: str
    key: str
    attempt: int
    payload: str


class Store:
    """The operations on jobs. Every method raises RedisError if Redis fails."""

    def __init__(self, url: SecretStr, client: Redis | None = None) -> None:
        self.client = client or connect(url, TIMEOUT)
        self._new = self.client.register_script(SCRIPT)
        self._held = self.client.register_script(FULL_TOO + SCRIPT)

    def close(self) -> None:
        self.client.close()

    def _do(self, command: str, *arguments: str | float) -> Any:  # noqa: ANN401 - each has its own
        return self._held(keys=[PREFIX], args=[command, *arguments])

    def submit(
        self, kind: Kind, payload: str, key: str = "", priority: Priority = "normal"
    ) -> tuple[str, bool]:
        """Queue a job; return its id, and whether it is a new one.

        There is one job per kind and key for as long as it is kept; without a key, it gets its own.

        Raises:
            TakenError: the key belongs to a job with a different payload.
            FullError: Redis has no memory for a new job; an existing one is still found.
        """
        number = uuid.uuid4().hex
        asked = ("submit", number, kind.name, kind.queue, priority, key or number, payload)
        try:
            found, same, new = self._new(keys=[PREFIX], args=asked)
        except OutOfMemoryError as error:
            raise FullError("Redis is full: no job is accepted until results expire") from error
        if not same:
            raise TakenError(f"the key {key} was used for another {kind.name}")
        return str(found), bool(new)

    def claim(self, number: str, token: str, worker: str) -> Claim | None:
        """Claim a job for an attempt; return None if it has ended, or another attempt has it."""
        found = self._do("claim", number, token, worker, LEASE)
        if not found:
            return None
        kind, key, attempt, payload = found
        return Claim(number, token, kind, key, int(attempt), payload)

    def progress(self, claim: Claim, fraction: float, said: str) -> None:
        self._do("progress", claim.id, claim.token, f"{fraction:.4g}", said[:ERROR_MAX])

    def finish(self, claim: Claim, state: State, result: str = "", error: str = "") -> bool:
        """End a job; return whether this attempt still held it."""
        kept = KEPT_DEAD if state == "dead" else KEPT
        told = (claim.id, claim.token, state, kept, result, error[:ERROR_MAX])
        return bool(self._do("finish", *told))

    def fail(self, claim: Claim, error: str, delay: float, allowed: int) -> bool:
        """Retry a job after a delay, or make it a dead letter if it has failed too often.

        Returns whether this attempt still held it.
        """
        told = (claim.id, claim.token, error[:ERROR_MAX], delay, allowed, KEPT_DEAD)
        return bool(self._do("fail", *told))

    def give_back(self, claim: Claim) -> bool:
        """Return a job to the queue as if it had not been tried; return whether it was held.

        A cancelled job is not queued again.
        """
        return bool(self._do("give_back", claim.id, claim.token, KEPT))

    def cancel(self, number: str) -> State | None:
        """Cancel a job; return its state then, or None if there is none.

        A running job is told to stop, and is cancelled once it has; an ended one is unchanged.
        """
        return cast("State | None", self._do("cancel", number, KEPT))

    def again(self, number: str) -> bool:
        """Queue a dead letter again; return whether it is one."""
        return bool(self._do("again", number))

    def beat(
        self, worker: str, record: Mapping[str, Any], claims: Iterable[Claim]
    ) -> list[Verdict]:
        """Record that a worker is alive and holds these jobs.

        Returns for each whether it was "lost" or "cancelled"; empty if neither.
        """
        held = [word for claim in claims for word in (claim.id, claim.token)]
        written = json.dumps({**record, "at": time.time()})
        return cast("list[Verdict]", self._do("beat", worker, written, LEASE, CALM, *held))

    def leave(self, worker: str) -> None:
        self.client.hdel(f"{PREFIX}workers", worker)

    def sweep(self, queue: str) -> int:
        """Queue the jobs that are due, and those of dead workers; return how many."""
        return int(self._do("sweep", queue, LOSSES, KEPT, KEPT_DEAD))

    def get(self, number: str) -> dict[str, str] | None:
        """Return a job, or None if there is none."""
        values = cast("list[str | None]", self.client.hmget(f"{PREFIX}job:{number}", FIELDS))
        told = dict(zip(FIELDS, values, strict=True))
        if not told["state"]:
            return None
        return {name: value or "" for name, value in told.items()}

    def dead(self, queue: str, count: int = SHOWN) -> list[dict[str, str]]:
        """Return the newest dead letters of a queue."""
        ids = cast("list[str]", self.client.zrevrange(f"{PREFIX}dead:{queue}", 0, count - 1))
        return [told for number in ids if (told := self.get(number))]

    def load(self, queue: str) -> "Load":
        """Return the state of a queue."""
        waiting = [f"{PREFIX}waiting:{queue}.{priority}" for priority in PRIORITIES]
        with self.client.pipeline(transaction=True) as asked:
            for name in waiting:
                asked.zcard(name)
                asked.zrange(name, 0, 0, withscores=True)
            for what in ("running", "due", "dead"):
                asked.zcard(f"{PREFIX}{what}:{queue}")
            asked.hgetall(f"{PREFIX}counts")
            *found, running, due, dead, counts = asked.execute()
        oldest = [score for first in found[1::2] for _, score in first]
        return Load(
            queue=queue,
            waiting=dict(zip(PRIORITIES, found[::2], strict=True)),
            oldest_seconds=max(0.0, time.time() - min(oldest)) if oldest else 0.0,
            running=running,
            delayed=due,
            dead=dead,
            counts={
                name.removeprefix(f"{queue} "): int(value)
                for name, value in counts.items()
                if name.startswith(f"{queue} ")
            },
        )

    def memory(self) -> "Memory":
        """Return how much memory Redis uses, and its limit."""
        told = cast("dict[str, int]", self.client.info("memory"))
        uncounted = told["mem_not_counted_for_evict"]
        return Memory(told["used_memory"] - uncounted, told["maxmemory"])

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the reports of the live workers; forget those that are gone."""
        said = cast("dict[str, str]", self.client.hgetall(f"{PREFIX}workers"))
        found = {name: json.loads(text) for name, text in said.items()}
        gone = [name for name, one in found.items() if time.time() - one["at"] > GONE]
        if gone:
            self.client.hdel(f"{PREFIX}workers", *gone)
        return {name: one for name, one in found.items() if name not in gone}


@dataclass(frozen=True)
class Memory:
    """The memory of Redis, in bytes as it counts them towards its limit."""

    used: int
    limit: int
    """Above it no job is accepted; 0: no limit."""

    @property
    def spent(self) -> bool:
        return 0 < self.limit * (1 + RESERVE) < self.used


@dataclass(frozen=True)
class Load:
    """The state of a queue, and its totals."""

    queue: str
    waiting: Mapping[str, int]
    """By priority."""
    oldest_seconds: float
    """How long the oldest has waited."""
    running: int
    delayed: int
    """Failed jobs that will be retried."""
    dead: int
    counts: Mapping[str, int]
    """Totals of done, dead, cancelled, retried and lost jobs."""
