"""Promotion: another version of a model goes live everywhere, or nothing changes.

The steps are numbered as they are printed. Steps 1 to 5 check a version that nothing serves yet,
step 6 moves the link, and steps 7 and 8 look at what serves it. If any of the last three fails, the
previous version goes live again.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.core import output
from slipway.core.errors import Refused
from slipway.core.files import parse_json
from slipway.core.transaction import StepFailed, Steps, uninterrupted
from slipway.models import history, registry, replicas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slipway.core.transaction import Change
    from slipway.models.registry import Model
    from slipway.models.replicas import AnswerCounts, ServingProcess
    from slipway.stack.session import Session

CHECKS = ("checksum", "load", "features", "golden", "metrics")
"""What is checked before anything moves; the application does it (candidate.py)."""
STEPS = (*CHECKS, "pointer", "replicas", "watch")
CHECK_LIMIT = 60.0
"""Seconds for all checks of a version; what takes longer to load cannot be served."""
BACK_LIMIT = 10.0
"""Seconds until every process serves the previous version again; most still have it in memory."""
SWAP_LIMIT = 30.0
"""Seconds until every process serves the version."""
WATCH = 10.0
"""Seconds to watch the version once it is served."""
ERRORS_MAX = 0.01
"""Share of failed requests that is tolerated on top of the previous version's."""
LATENCY_MAX, LATENCY_FLOOR = 3.0, 0.1
"""p99 may be this many times the previous version's; up to this many seconds it is always fine."""
JUDGED = 100
"""Requests from which a p99 means something."""
POLL = 0.25
KILLED, TIMED_OUT = 137, 124
"""Exit codes of a process."""


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

        `before` is the file that goes live again after a failure: after a promotion that was
        killed, the file that it had started from. By default it is what is served now.
        """
        self.session = session
        self.change = change
        self.tier = tier
        self.limits = limits
        self.folder = session.project.models
        self.reports = replicas.report_folder(session.project.run)
        self.before = registry.served_file(self.folder, tier) if before is None else before
        self.replicas = session.engine.replicas()
        self.steps = Steps(change, STEPS)

    def check_version(self, model: Model) -> None:
        """Make steps 1 to 5: check a version in a process of its own.

        Raises:
            StepFailed: a check failed, they took too long, or the memory does not suffice.
        """
        results: list[dict[str, Any]] = []
        self.steps.begin(CHECKS[0])
        try:
            for result in self._check_results(model):
                results.append(result)
                self._report_check(results)
        except Refused as error:
            if not results or results[-1]["ok"]:
                raise self._check_failed(results, end_reason(error, self.limits.checks)) from error
        if results and not results[-1]["ok"]:
            failed = results[-1]
            raise self.steps.failure(failed["name"], failed["detail"], self._served_text())
        if len(results) < len(CHECKS):
            raise self._check_failed(results, "its process ended without a result")
        self._refuse_too_big(next(one["bytes"] for one in results if "bytes" in one))

    def _check_results(self, model: Model) -> Iterator[dict[str, Any]]:
        module = f"{self.session.project.package}.candidate"
        command = ["python", "-m", module, model.tier, model.version]
        lines = self.session.engine.trial(command, self.limits.checks)
        yield from filter(None, map(read_check, lines))

    def _report_check(self, results: list[dict[str, Any]]) -> None:
        """Print the newest result, and note which step comes next."""
        newest = results[-1]
        self.steps.begin(STEPS[len(results) - (not newest["ok"])], checks=results)
        mark = "ok" if newest["ok"] else "FAILED"
        detail = newest["detail"].partition("\n")[0]
        self.steps.report(newest["name"], mark, newest["seconds"], detail)

    def _check_failed(self, results: list[dict[str, Any]], why: str) -> StepFailed:
        """Return the error of the check that gave no result."""
        name = CHECKS[min(len(results), len(CHECKS) - 1)]
        return self.steps.failure(name, why, self._served_text())

    def _refuse_too_big(self, needed: int) -> None:
        """Check that every replica has the memory to hold the version beside the current one."""
        live = replicas.serving_processes(self.reports)
        for replica in self.replicas:
            there = [item.available for item in live if item.host == replica.host]
            free = min(filter(None, there), default=needed * len(there))
            if needed * len(there) > free:
                why = f"{replica.name} has {_mb(free)} of memory free, and needs {len(there)} x"
                why = f"{why} {_mb(needed)} to load it beside the current version"
                raise self.steps.failure("load", why, self._served_text())

    def _served_text(self) -> str:
        version = history.version_of(self.folder, self.tier, self.before)
        return f"{self.tier} serves {version or 'nothing'}, as before"

    def check_file(self, model: Model) -> None:
        """Make step 1 alone, for a version that has been live.

        Raises:
            StepFailed: its file was changed since.
        """
        with self.steps.run("checksum") as step:
            if damage := registry.find_damage(model):
                raise Refused(damage, self._served_text())
            step.detail = f"sha256 {model.metadata['sha256'][:12]}..."

    def switch_version(self, model: Model) -> None:
        """Make steps 6 and 7: move the link, and wait until every process serves the version.

        Raises:
            StepFailed: the link cannot be moved, or a process does not serve the version.
        """
        with self.steps.run("pointer") as step:
            registry.point_link(self.folder, self.tier, model.file.name)
            step.detail = f"{self.tier} -> {model.file.name}"
        with self.steps.run("replicas") as step:
            step.detail = self._await_replicas(model.file.name)

    def _await_replicas(self, file: str) -> str:
        if not self.replicas:
            return "nothing runs: the next deploy.up serves it"
        count = replicas.await_everywhere(
            self.reports, self.session.engine.replicas, self.tier, file, self.limits.swap
        )
        if not count:
            return "no replica serves this tier; what uses it reads the link"
        return f"served by {_many(count, 'process')} of {_many(len(self.replicas), 'replica')}"

    def watch_requests(self, model: Model) -> None:
        """Make step 8: look for a while whether requests are answered as well as before.

        Raises:
            StepFailed: they are not.
        """
        first = replicas.serving_processes(self.reports)
        served = not first or any(process.serves(self.tier) for process in first)
        if not self.replicas or not self.limits.watch or not served:
            return
        with self.steps.run("watch", f"for {self.limits.watch:g} s") as step:
            step.detail = self._watch_processes(first, model.file.name)

    def _watch_processes(self, first: Sequence[ServingProcess], file: str) -> str:
        started = time.monotonic()
        usual = replicas.count_answers(first, self.before)
        before = replicas.count_answers(first, file)
        while True:
            live = replicas.serving_processes(self.reports)
            now = replicas.count_answers(live, file) - before
            over = time.monotonic() - started >= self.limits.watch
            if wrong := _ended_processes(first, live) or judge_requests(now, usual, last=over):
                raise Refused(wrong)
            if over:
                return describe_requests(now, usual)
            time.sleep(POLL)

    def interrupted(self, served: str) -> KeyboardInterrupt:
        """Return what says at which step it was interrupted, and what is served."""
        step = self.steps.current
        number = self.steps.number(step)
        return KeyboardInterrupt(f"step {number} ({step}): interrupted\n  -> {served}")

    def put_back(self) -> str:
        """Let the previous version go live again everywhere; return what is served now."""
        back = history.version_of(self.folder, self.tier, self.before) or "nothing"
        if registry.served_file(self.folder, self.tier) != self.before:
            output.say(f"  Putting back: {self.tier} -> {back}")
            registry.point_link(self.folder, self.tier, self.before)
        if self.before and self.replicas:
            running, limit = self.session.engine.replicas, min(self.limits.swap, BACK_LIMIT)
            try:
                replicas.await_everywhere(self.reports, running, self.tier, self.before, limit)
            except Refused as error:
                return f"the link names {back} again, but: {error.what}. Next: inv models.verify"
        return self._served_text()


def promote_model(promotion: Promotion, model: Model, *, dry_run: bool) -> None:
    """Make all steps.

    Raises:
        StepFailed: one of them failed; the previous version is live again.
    """
    with _interruption_explained(promotion):
        promotion.check_version(model)
    if not dry_run:
        _go_live(promotion, model, watched=True)


def roll_back(promotion: Promotion, model: Model) -> None:
    """Make the steps for a version that was live before: the checksum, the link, the processes.

    Raises:
        StepFailed: one of them failed; what was live before is live again.
    """
    with _interruption_explained(promotion):
        promotion.check_file(model)
    _go_live(promotion, model, watched=False)


@contextmanager
def _interruption_explained(promotion: Promotion) -> Iterator[None]:
    """Say at which step Ctrl-C was pressed, where nothing has changed yet."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise promotion.interrupted(promotion.put_back()) from error


def _go_live(promotion: Promotion, model: Model, *, watched: bool) -> None:
    """Make the steps that others notice; undo them if one fails, or cannot be recorded."""
    try:
        promotion.switch_version(model)
        if watched:
            promotion.watch_requests(model)
        promotion.change.commit()
    except StepFailed as error:
        with uninterrupted():
            served = promotion.put_back()
        raise promotion.steps.failure(error.step, error.why, served) from error
    except KeyboardInterrupt as error:
        with uninterrupted():
            served = promotion.put_back()
        raise promotion.interrupted(served) from error
    except BaseException:
        with uninterrupted():
            output.say(f"  {promotion.put_back()}")
        raise


def judge_requests(now: AnswerCounts, usual: AnswerCounts, *, last: bool) -> str:
    """Say what is wrong with how requests are answered now; nothing if it is within bounds.

    Errors count at once, latency only at the end (`last`).
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
    text = f"{now.requests} requests, {now.bad} failed, p99 at most {_ms(now.p99)}"
    return f"{text} (before: {_ms(usual.p99)})" if usual.requests else text


def _ended_processes(first: Sequence[ServingProcess], live: Sequence[ServingProcess]) -> str:
    gone = {item.name for item in first} - {item.name for item in live}
    return f"ended in the meantime: {', '.join(sorted(gone))}" if gone else ""


def read_check(line: str) -> dict[str, Any]:
    """Read the result of one check; what a library prints between results is none."""
    try:
        result = parse_json(line)
        return result if result.get("name") in CHECKS else {}
    except (ValueError, TypeError):  # a name may be a list
        return {}


def end_reason(error: Refused, limit: float) -> str:
    """Say why the process of the checks ended, where it could not say so itself."""
    if error.code == KILLED:
        return "its process was killed: it needs more memory than is available"
    if error.code == TIMED_OUT:
        return f"not done within {limit:g} s"
    return error.what


def _many(count: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{'' if count == 1 else plural}"


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
