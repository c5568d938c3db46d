"""How a worker's threads run a job: claim it, call its function, and record the outcome."""

import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from dramatiq.middleware.threading import Interrupt, raise_thread_exception
from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError

from ..shared import masking
from .job import Cancelled, Job, Unrecoverable
from .kinds import Kind
from .store import RESULT_MAX, Claim, Store

log = logging.getLogger(__name__)

Function: TypeAlias = Callable[[Any, Job], dict[str, Any]]
Reason: TypeAlias = Literal["", "cancelled", "lost", "ending"]
Given = TypeVar("Given")

DELAY, DELAY_MAX = 2.0, 300.0
"""Seconds before the first retry, doubled for each later one, and the maximum."""

JITTER = 0.25
"""Fraction by which delays vary at random, so that jobs do not all retry together."""

UNKNOWN_MAX = 8
"""How often a job of an unknown kind may be taken; with the delays, some minutes."""

AGAIN = 0.3
"""Seconds between two attempts to reach Redis."""

PATIENCE = 5.0
"""Seconds past its time limit after which a job counts as one that cannot be interrupted."""


class TimeLimitError(Interrupt):  # type: ignore[misc]  # mypy does not follow the library
    """A job exceeded its time limit; raised in its thread."""


@dataclass
class Attempt:
    """An attempt in progress."""

    claim: Claim
    kind: Kind
    job: Job
    thread: int
    since: float
    """By the monotonic clock."""
    reason: Reason = ""
    inside: bool = True
    """Whether it is inside the job's function, and so can be interrupted."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def late(self) -> float:
        return time.monotonic() - self.since - self.kind.time_limit

    @property
    def too_long(self) -> str:
        return f"it took longer than {self.kind.time_limit:g} s"

    def stop(self, reason: Reason) -> None:
        """Tell the job to stop."""
        self.reason = self.reason or reason
        self.job.stop()

    def interrupt(self) -> None:
        """Raise TimeLimitError in its thread, once."""
        with self.lock:
            if self.inside:
                self.inside = False
                raise_thread_exception(self.thread, TimeLimitError)

    def leave(self) -> None:
        with self.lock:
            self.inside = False


class Attempts:
    """The attempts of this process."""

    def __init__(
        self,
        store: Store,
        kinds: Mapping[str, Kind],
        functions: Mapping[str, Function],
        worker: str,
    ) -> None:
        self.store, self.kinds, self.functions, self.worker = store, kinds, functions, worker
        self.going: dict[str, Attempt] = {}
        self.ending = threading.Event()
        """Set when no more jobs are to be started."""
        self.over = threading.Event()
        """Set when this process no longer reports anything."""

    def make(self, number: str) -> None:
        """Run a job, if it has not ended yet."""
        token = uuid.uuid4().hex
        claim = self.patiently(lambda: self.store.claim(number, token, self.worker))
        if claim is None:
            return
        if claim.kind not in self.kinds:  # as during the rollout of a newer release
            why = f"the worker {self.worker} does not know the kind {claim.kind}"
            self.patiently(lambda: self.store.fail(claim, why, delay(claim.attempt), UNKNOWN_MAX))
            return
        job = Job(claim.id, claim.key, claim.attempt, lambda *told: self.report(claim, *told))
        thread = threading.get_ident()
        going = Attempt(claim, self.kinds[claim.kind], job, thread, time.monotonic())
        self.going[token] = going
        if self.ending.is_set():
            going.stop("ending")
        try:
            settle = self.outcome(going)
            if not self.patiently(settle):
                log.warning(
                    "%s %s was given up in the meantime: its result is too late", *told(claim)
                )
        finally:
            del self.going[token]

    def outcome(self, going: Attempt) -> Callable[[], bool]:
        """Run it; return the call that records the outcome."""
        claim, store = going.claim, self.store
        try:
            try:
                payload = going.kind.payload.model_validate_json(claim.payload)
                result = written(self.functions[claim.kind](payload, going.job))
            finally:
                going.leave()
        except TimeLimitError:
            return self.failed(going, going.too_long)
        except (Unrecoverable, ValidationError) as error:
            why = masking.masked(str(error))
            log.warning("%s %s cannot succeed: %s", *told(claim), why)
            return lambda: store.finish(claim, "dead", error=why)
        except Exception as error:  # whatever a job may raise
            if going.job.cancelled() or isinstance(error, Cancelled):
                return self.stopped(going)
            log.warning("%s %s failed", *told(claim), exc_info=True)
            return self.failed(going, f"{type(error).__name__}: {error}")
        return lambda: store.finish(claim, "done", result=result)

    def failed(self, going: Attempt, why: str) -> Callable[[], bool]:
        """Return the call that records a failure: a retry, or a dead letter after too many."""
        claim, allowed, why = going.claim, going.kind.max_attempts, masking.masked(why)
        return lambda: self.store.fail(claim, why, delay(claim.attempt), allowed)

    def give_up(self, stuck: list[Attempt]) -> bool:
        """Record that jobs that cannot be interrupted failed; return whether any is still running.

        Its thread is lost until the process ends.
        """
        for one in stuck:
            if self.failed(one, one.too_long)():
                log.warning("%s %s cannot be interrupted: %s", *told(one.claim), one.too_long)
        return any(one in self.going.values() for one in stuck)

    def stopped(self, going: Attempt) -> Callable[[], bool]:
        """Return the call that records a stop: the job goes back to the queue, or is cancelled."""
        claim, store = going.claim, self.store
        if going.reason in {"ending", "lost"}:
            return lambda: store.give_back(claim)
        return lambda: store.finish(claim, "cancelled")

    def report(self, claim: Claim, fraction: float, said: str) -> None:
        """Report its progress; a report that is lost does not matter, since another follows."""
        try:
            self.store.progress(claim, fraction, said)
        except RedisError as error:
            log.debug("progress could not be reported: %s", error)

    def patiently(self, action: Callable[[], Given]) -> Given:
        """Call Redis, and retry until it responds.

        A completed job must not run again because Redis was restarted, so this gives up only when
        the process ends; it raises RedisError then.
        """
        while True:
            try:
                return action()
            except RedisError as error:
                if self.over.wait(AGAIN):
                    raise
                log.debug("Redis failed; retrying: %s", error)

    def end(self) -> None:
        """Tell all running jobs to stop, so that other workers can take them."""
        self.ending.set()
        for going in list(self.going.values()):
            going.stop("ending")

    def give_back(self) -> None:
        """Return the jobs that did not stop. Raises RedisError: their leases then expire."""
        for going in list(self.going.values()):
            self.store.give_back(going.claim)


def told(claim: Claim) -> tuple[str, str]:
    return claim.kind, claim.id


def written(result: dict[str, Any]) -> str:
    """Serialise a result as JSON; raises Unrecoverable if that is impossible."""
    try:
        dumped = result.model_dump_json() if isinstance(result, BaseModel) else dump(result)
    except (TypeError, ValueError) as error:
        raise Unrecoverable(f"its result is not JSON: {error}") from error
    if len(dumped.encode()) > RESULT_MAX:
        raise Unrecoverable(f"its result has more than {RESULT_MAX} bytes")
    return dumped


def dump(result: dict[str, Any]) -> str:
    """Serialise to JSON that any parser accepts: without NaN."""
    return json.dumps(result, allow_nan=False, ensure_ascii=False)


def delay(attempt: int) -> float:
    """Return the seconds until a job is tried again: exponential, with jitter.

    As in M. Brooker, Exponential Backoff And Jitter (AWS Architecture Blog, 2015).
    """
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    return min(DELAY * 2.0 ** min(attempt - 1, 20), DELAY_MAX) * spread
