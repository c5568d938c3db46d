"""Rotation: another version of a model goes live everywhere, or nothing has changed.

The steps are numbered as they are printed: 1 to 5 look at a version that nobody serves, 6 moves the
link, 7 and 8 look at what serves. Whatever fails from 6 on, the version before is live again.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.core import output
from slipway.core.errors import Refused
from slipway.core.transaction import uninterrupted, unwritable
from slipway.models import history, registry, replicas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slipway.core.transaction import Change
    from slipway.models.registry import Model
    from slipway.models.replicas import AnswerCounts, ServingProcess
    from slipway.stack.session import Session

CHECKS = ("checksum", "load", "features", "golden", "metrics")
"""What is checked before anything moves; the application makes them (candidate.py)."""
STEPS = (*CHECKS, "pointer", "replicas", "watch")
CHECK_LIMIT = 60.0
"""Seconds that all checks of a version may take; what loads slower cannot be served."""
BACK_LIMIT = 10.0
"""Seconds until every process serves the version before again; most still have it in memory."""
SWAP_LIMIT = 30.0
"""Seconds until every process serves the version."""
WATCH = 10.0
"""Seconds that the version is watched once it is served."""
ERRORS_MAX = 0.01
"""Share of spoilt requests, on top of what it was before."""
LATENCY_MAX, LATENCY_FLOOR = 3.0, 0.1
"""p99 may be so many times that of the version before; at most so many seconds are always well."""
JUDGED = 100
"""Requests from which their p99 says something."""
POLL = 0.25


class StepFailed(Refused):
    """A step found something wrong; nothing has changed, or it is as it was again."""

    def __init__(self, step: str, why: str, fix: str = "") -> None:
        """Take the name of the step."""
        super().__init__(f"step {STEPS.index(step) + 1} ({step}): {why}", fix)
        self.step = step
        self.why = why


@dataclass(frozen=True)
class PromotionLimits:
    """Seconds that the steps may take."""

    checks: float = CHECK_LIMIT
    swap: float = SWAP_LIMIT
    watch: float = WATCH


class Promotion:
    """One change of what one tier serves."""

    def __init__(
        self,
        session: Session,
        change: Change,
        tier: str,
        limits: PromotionLimits,
        before: str | None = None,
    ) -> None:
        """Look at what is served; nothing is changed yet.

        `before` is the file that is live again after a failure: where a rotation was killed, the
        one that it had begun with. By default it is what is served now.
        """
        self.session = session
        self.change = change
        self.tier = tier
        self.limits = limits
        self.folder = session.project.models
        self.reports = replicas.report_folder(session.project.run)
        self.before = registry.served_file(self.folder, tier) if before is None else before
        self.replicas = session.engine.replicas()
        self.step = STEPS[0]

    def check(self, model: Model) -> None:
        """Make steps 1 to 5: the checks of a version in a process of its own.

        Raises:
            StepFailed: one is not ok, or they took too long, or the memory does not suffice.
        """
        said: list[dict[str, Any]] = []
        module = f"{self.session.project.package}.candidate"
        command = ["python", "-m", module, model.tier, model.version]
        self._begin(STEPS[0])
        try:
            for line in self.session.engine.trial(command, self.limits.checks):
                if one := read_check(line):
                    said.append(one)
                    self._begin(STEPS[len(said) - (not one["ok"])], checks=said)
                    detail = one["detail"] if one["ok"] else ""  # else it is said at the end
                    _tell(one["name"], one["seconds"], detail, ok=one["ok"])
        except Refused as error:
            if not said or said[-1]["ok"]:
                step = STEPS[len(said)]
                why = _ended(error, self.limits.checks)
                raise StepFailed(step, why, self._served()) from error
        if not said or not said[-1]["ok"]:
            one = said[-1] if said else {"name": STEPS[0], "detail": "nothing was said of it"}
            raise StepFailed(one["name"], one["detail"], f"{self._served()}")
        self._refuse_too_big(next(one["bytes"] for one in said if "bytes" in one))

    def _refuse_too_big(self, needed: int) -> None:
        """Check that every replica has the memory to hold the version beside the one it serves."""
        live = replicas.serving_processes(self.reports)
        for replica in self.replicas:
            there = [item.available for item in live if item.host == replica.host]
            free = min(filter(None, there), default=needed * len(there))
            if needed * len(there) > free:
                what = (
                    f"{replica.name} has {_mb(free)} free, and needs {len(there)} x {_mb(needed)}"
                )
                what = f"{what} to load it beside what is served"
                raise StepFailed("load", what, self._served())

    def _begin(self, step: str, **facts: object) -> None:
        self.step = step
        self.change.note(step=step, **facts)

    def _served(self) -> str:
        version = history.version_of(self.folder, self.tier, self.before)
        return f"{self.tier} serves {version or 'nothing'}, as before"

    def recheck(self, model: Model) -> None:
        """Make step 1 alone, of a version that has been live.

        Raises:
            StepFailed: its file is not what it was.
        """
        started = time.monotonic()
        self._begin("checksum")
        if wrong := registry.find_damage(model):
            raise StepFailed("checksum", wrong, self._served())
        _tell("checksum", time.monotonic() - started, f"sha256 {model.metadata['sha256'][:12]}...")

    def switch(self, model: Model) -> None:
        """Make step 6 and 7: move the link and wait for every process; the old stays on failure."""
        started = time.monotonic()
        self._begin("pointer")
        try:
            registry.point_link(self.folder, self.tier, model.file.name)
        except OSError as error:
            raise StepFailed("pointer", unwritable(error).what) from error
        _tell("pointer", time.monotonic() - started, f"{self.tier} -> {model.file.name}")
        self._await(model.file.name)

    def _await(self, file: str) -> None:
        self._begin("replicas")
        if not self.replicas:
            _tell("replicas", 0.0, "nothing runs: it is served from the next deploy.up on")
            return
        started, running = time.monotonic(), self.session.engine.replicas
        try:
            count = replicas.await_everywhere(
                self.reports, running, self.tier, file, self.limits.swap
            )
        except Refused as error:
            raise StepFailed("replicas", error.what) from error
        said = f"served by {_many(count, 'process')} of {_many(len(self.replicas), 'replica')}"
        said = said if count else "no replica serves this tier: who uses it reads the link"
        _tell("replicas", time.monotonic() - started, said)

    def watch(self, model: Model) -> None:
        """Make step 8: see that requests are answered as well as before, for a while."""
        first = replicas.serving_processes(self.reports)
        served = not first or any(process.serves(self.tier) for process in first)
        if not self.replicas or not self.limits.watch or not served:
            return
        self._begin("watch")
        started = time.monotonic()
        usual = replicas.count_answers(first, self.before)
        before = replicas.count_answers(first, model.file.name)
        with output.waiting(f"{STEPS.index('watch') + 1} watch      for {self.limits.watch:g} s"):
            while True:
                live = replicas.serving_processes(self.reports)
                now = replicas.count_answers(live, model.file.name) - before
                over = time.monotonic() - started >= self.limits.watch
                wrong = _gone(first, live) or judge_requests(now, usual, last=over)
                if wrong:
                    raise StepFailed("watch", wrong)
                if over:
                    break
                time.sleep(POLL)
        _tell("watch", time.monotonic() - started, describe_requests(now, usual))

    def interrupted(self, served: str) -> KeyboardInterrupt:
        """Return what says at which step it was interrupted, and what is served."""
        number = STEPS.index(self.step) + 1
        return KeyboardInterrupt(f"step {number} ({self.step}): interrupted\n  -> {served}")

    def put_back(self) -> str:
        """Let the version before be live again everywhere; say how that came out."""
        back = history.version_of(self.folder, self.tier, self.before) or "nothing"
        if registry.served_file(self.folder, self.tier) != self.before:
            output.say(f"  Putting back: {self.tier} -> {back}")
            registry.point_link(self.folder, self.tier, self.before)
        if self.before and self.replicas:
            running, limit = self.session.engine.replicas, min(self.limits.swap, BACK_LIMIT)
            try:
                replicas.await_everywhere(self.reports, running, self.tier, self.before, limit)
            except Refused as error:
                return f"the link is on {back} again, but: {error.what}; look: inv models.verify"
        return self._served()


def promote_model(rotation: Promotion, model: Model, *, dry_run: bool) -> None:
    """Make all steps.

    Raises:
        StepFailed: one of them; what was live before is live again.
    """
    with _told(rotation):
        rotation.check(model)
    if not dry_run:
        _live(rotation, model, watched=True)


def roll_back(rotation: Promotion, model: Model) -> None:
    """Make the steps of a version that was live before: the checksum, the link, the processes.

    Raises:
        StepFailed: one of them; what was live before is live again.
    """
    with _told(rotation):
        rotation.recheck(model)
    _live(rotation, model, watched=False)


@contextmanager
def _told(rotation: Promotion) -> Iterator[None]:
    """Say at which step Ctrl-C was pressed, where nothing had changed yet."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise rotation.interrupted(rotation.put_back()) from error


def _live(rotation: Promotion, model: Model, *, watched: bool) -> None:
    """Make the steps that others notice; undo them if one fails, or cannot be recorded."""
    try:
        rotation.switch(model)
        if watched:
            rotation.watch(model)
        rotation.change.commit()
    except StepFailed as error:
        with uninterrupted():
            served = rotation.put_back()
        raise StepFailed(error.step, error.why, served) from error
    except KeyboardInterrupt as error:
        with uninterrupted():
            served = rotation.put_back()
        raise rotation.interrupted(served) from error
    except BaseException:
        with uninterrupted():
            output.say(f"  {rotation.put_back()}")
        raise


def judge_requests(now: AnswerCounts, usual: AnswerCounts, *, last: bool) -> str:
    """Say what is wrong with how requests are answered now; nothing if it is within bounds.

    Latency is judged at the end (`last`) only, errors at once.
    """
    rate = usual.bad / usual.requests if usual.requests else 0.0
    if now.requests and now.bad / now.requests > rate + ERRORS_MAX:
        return f"{now.bad} of {now.requests} requests failed (before: {rate:.1%})"
    enough = min(now.requests, usual.requests) >= JUDGED
    bound = max(LATENCY_MAX * usual.p99, LATENCY_FLOOR)
    if last and enough and now.p99 > bound:
        return f"p99 is {_ms(now.p99)}, at most {_ms(bound)} is allowed (before: {_ms(usual.p99)})"
    return ""


def describe_requests(now: AnswerCounts, usual: AnswerCounts) -> str:
    """Say how requests were answered."""
    if not now.requests:
        return "not judged: no request reached the model"
    said = f"{now.requests} requests, {now.bad} failed, p99 at most {_ms(now.p99)}"
    return f"{said} (before: {_ms(usual.p99)})" if usual.requests else said


def _gone(first: Sequence[ServingProcess], live: Sequence[ServingProcess]) -> str:
    """Name the processes that ended while they were watched."""
    gone = {item.name for item in first} - {item.name for item in live}
    return f"ended meanwhile: {', '.join(sorted(gone))}" if gone else ""


def read_check(line: str) -> dict[str, Any]:
    """Read what was printed of one check; a library may print other things."""
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and said.get("name") in CHECKS else {}


def _ended(error: Refused, limit: float) -> str:
    """Say how the process of the checks ended, where it did not say so itself."""
    killed, too_long = 137, 124
    if error.code == killed:
        return "its process was killed: it needs more memory than there is"
    if error.code == too_long:
        return f"not done within {limit:g} s"
    return error.what


def _tell(step: str, seconds: float, detail: str, *, ok: bool = True) -> None:
    mark = "ok" if ok else "FAILED"
    output.say(f"  {STEPS.index(step) + 1} {step:<10} {mark:<7} {seconds:5.1f} s  {detail}")


def _many(count: int, what: str) -> str:
    plural = "es" if what.endswith("s") else "s"
    return f"{count} {what}{'' if count == 1 else plural}"


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
