"""What a worker's threads do with a job: hold it, do it, and say what came of it."""

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
"""Seconds until the second try, twice as many until the next one, and at most so many."""

JITTER = 0.25
"""By what share a delay is longer or shorter by chance: what failed together comes one by one."""

UNKNOWN_MAX = 8
"""How often workers may take a job whose kind they do not know: some minutes, with the delays."""

AGAIN = 0.3
"""Seconds between two tries to reach Redis."""

PATIENCE = 5.0
"""Seconds over its time limit after which a job counts as one that cannot be interrupted."""


class TimeLimitError(Interrupt):  # type: ignore[misc]  # mypy does not follow the library
    """A job took longer than it may; raised in its thread."""


@dataclass
class Attempt:
    """An attempt that is going on."""

    claim: Claim
    kind: Kind
    job: Job
    thread: int
    since: float
    """Of the monotonic clock."""
    reason: Reason = ""
    inside: bool = True
    """Whether it is in the function, and so can be interrupted."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def late(self) -> float:
        return time.monotonic() - self.since - self.kind.time_limit

    @property
    def too_long(self) -> str:
        return f"it took longer than {self.kind.time_limit:g} s"

    def stop(self, reason: Reason) -> None:
        """Have it go on no longer."""
        self.reason = self.reason or reason
        self.job.stop()

    def interrupt(self) -> None:
        """Raise in its thread that its time is up, once."""
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
        """Set when nothing more is to be begun."""
        self.over = threading.Event()
        """Set when this process says nothing any more."""

    def make(self, number: str) -> None:
        """Do a job, if it is still to be done."""
        token = uuid.uuid4().hex
        claim = self.patiently(lambda: self.store.claim(number, token, self.worker))
        if claim is None:
            return
        if claim.kind not in self.kinds:  # as while a newer release takes the place of this one
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
        """Do it; return what is to be said of it."""
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
        """Say that it failed; it is tried again, or too often already."""
        claim, allowed, why = going.claim, going.kind.max_attempts, masking.masked(why)
        return lambda: self.store.fail(claim, why, delay(claim.attempt), allowed)

    def give_up(self, stuck: list[Attempt]) -> bool:
        """Say of jobs that cannot be interrupted that they failed; return whether any goes on.

        Its thread is lost: only the end of the process ends it.
        """
        for one in stuck:
            if self.failed(one, one.too_long)():
                log.warning("%s %s cannot be interrupted: %s", *told(one.claim), one.too_long)
        return any(one in self.going.values() for one in stuck)

    def stopped(self, going: Attempt) -> Callable[[], bool]:
        """Say that it was stopped: for others to do, or for good."""
        claim, store = going.claim, self.store
        if going.reason in {"ending", "lost"}:
            return lambda: store.give_back(claim)
        return lambda: store.finish(claim, "cancelled")

    def report(self, claim: Claim, fraction: float, said: str) -> None:
        """Tell how far it is; a report that does not arrive is followed by another."""
        try:
            self.store.progress(claim, fraction, said)
        except RedisError as error:
            log.debug("progress could not be reported: %s", error)

    def patiently(self, action: Callable[[], Given]) -> Given:
        """Do something with Redis, as soon as Redis is there.

        A job that was done is not to be done again because of a restart of Redis; so the limit is
        the life of this process. Raises RedisError then.
        """
        while True:
            try:
                return action()
            except RedisError as error:
                if self.over.wait(AGAIN):
                    raise
                log.debug("Redis failed; retrying: %s", error)

    def end(self) -> None:
        """Have all go on no longer, for others to do."""
        self.ending.set()
        for going in list(self.going.values()):
            going.stop("ending")

    def give_back(self) -> None:
        """Give back what does not end; raises RedisError, and then leases end."""
        for going in list(self.going.values()):
            self.store.give_back(going.claim)


def told(claim: Claim) -> tuple[str, str]:
    return claim.kind, claim.id


def written(result: dict[str, Any]) -> str:
    """Write a result as JSON; raises Unrecoverable if that cannot be done."""
    try:
        dumped = result.model_dump_json() if isinstance(result, BaseModel) else dump(result)
    except (TypeError, ValueError) as error:
        raise Unrecoverable(f"its result is not JSON: {error}") from error
    if len(dumped.encode()) > RESULT_MAX:
        raise Unrecoverable(f"its result has more than {RESULT_MAX} bytes")
    return dumped


def dump(result: dict[str, Any]) -> str:
    """Write JSON that every reader takes: without NaN."""
    return json.dumps(result, allow_nan=False, ensure_ascii=False)


def delay(attempt: int) -> float:
    """Return the seconds until a job is tried again: exponential, with jitter.

    As in M. Brooker, Exponential Backoff And Jitter (AWS Architecture Blog, 2015).
    """
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    return min(DELAY * 2.0 ** min(attempt - 1, 20), DELAY_MAX) * spread
