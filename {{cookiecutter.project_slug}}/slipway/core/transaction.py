"""What every change of the stack has in common: one at a time, recorded, ended in good order.

A change may be made in numbered steps, and other rooms may observe that there was one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from slipway.core import journal, output
from slipway.core.errors import Refused
from slipway.core.files import read_json, replace_file
from slipway.core.redaction import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

INTERRUPTED = 130
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a process, unless it handles them."""

_observers: list[Callable[[Path], None]] = []


class Busy(Refused):
    """Another change is under way."""


@dataclass
class Change:
    """A change under way. What is noted of it outlives this process, if that is killed."""

    root: Path
    verb: str
    facts: dict[str, Any]
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    committed: bool = False

    def note(self, **facts: object) -> None:
        """Add to what is known of it: for whoever finds it killed, and for the journal."""
        self.facts.update(facts)
        owner = f"{journal.who()} (process {os.getpid()})"
        content = {"verb": self.verb, "owner": owner, "since": self.since, **self.facts}
        replace_file(_notes(self.root), masked(json.dumps(content, default=str)))

    def commit(self, **facts: object) -> None:
        """Record that it is done, while it can still be put back if that cannot be recorded."""
        self.facts.update(facts)
        journal.append(self.root, self.verb, outcome="done", since=self.since, **self.facts)
        self.committed = True


def on_change(observer: Callable[[Path], None]) -> Callable[[Path], None]:
    """Have a function called with the repository's folder after each change, however it ended."""
    _observers.append(observer)
    return observer


@contextmanager
def change(root: Path, verb: str, **known: object) -> Iterator[Change]:
    """Make one change: nobody else changes anything meanwhile, and how it ended is in the journal.

    Ctrl-C and a request to end (SIGTERM) both raise KeyboardInterrupt inside, so that the change
    can put things back. A change that was killed is recorded by the one after it.

    Raises:
        Refused: another change is under way, or the disk does not take what has to be written.
        Exit: the change was interrupted; its code is 130.
    """
    try:
        with _alone(root, verb), interruptible():
            made = Change(root, verb, {**known})
            made.note()
            try:
                with _recorded(made):
                    yield made
            finally:
                for observer in _observers:
                    with suppress(OSError):  # what they write follows from the rest
                        observer(root)
    except KeyboardInterrupt as error:
        raise Exit(str(error) or "interrupted", INTERRUPTED) from None
    except OSError as error:
        raise write_failure(error) from error


@contextmanager
def _recorded(made: Change) -> Iterator[None]:
    """Record how a change ended: done, failed or interrupted."""
    ended: dict[str, object] = {"outcome": "failed"}
    try:
        yield
        ended = {"outcome": "done"}
    except KeyboardInterrupt:
        ended = {"outcome": "interrupted"}
        raise
    except Refused as error:
        ended["error"] = error.what.partition("\n")[0]
        raise
    finally:
        if not made.committed:
            journal.append(made.root, made.verb, **ended, since=made.since, **made.facts)


def write_failure(error: OSError) -> Refused:
    """Say what the disk refused, and what helps."""
    fix = {
        errno.ENOSPC: "free some space, then try again",
        errno.EROFS: "make it writable, then try again",
        errno.EACCES: "make it yours, then try again",
    }
    place = error.filename or "the disk"
    why = f"{place}: {error.strerror}" if error.strerror else str(error)
    return Refused(why, fix.get(error.errno or 0, "inv doctor"))


@contextmanager
def _alone(root: Path, verb: str) -> Iterator[None]:
    """Hold the lock of this repository; the kernel lets go of it when the process ends, however."""
    path = root / "run" / "lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _under_way(root, verb) from error
        if left := _left(root):
            journal.append(root, **{**left, "outcome": "killed"})
        try:
            yield
        finally:
            _notes(root).unlink(missing_ok=True)


def killed_change(root: Path) -> dict[str, Any] | None:
    """Return what was noted of a change that was killed, and that no other one followed."""
    return None if change_under_way(root) else _left(root)


def change_under_way(root: Path) -> bool:
    """Tell whether a change is being made now."""
    try:
        with (root / "run" / "lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no change was ever made here
        return False
    return False


def _left(root: Path) -> dict[str, Any] | None:
    """Return what is noted of a change that the journal does not know the end of."""
    left = noted_change(root)
    last = (journal.entries(root) or [{}])[-1]
    same = left and all(left[key] == last.get(key) for key in ("verb", "since"))
    return None if same else left


def noted_change(root: Path) -> dict[str, Any] | None:
    """Return what is noted of the change that is under way, or was killed."""
    try:
        said = read_json(_notes(root))
        _ = (said["verb"], said["owner"], datetime.now(UTC) - datetime.fromisoformat(said["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said


def _notes(root: Path) -> Path:
    return root / "run" / "change.json"


def _under_way(root: Path, verb: str) -> Refused:
    owner = noted_change(root)
    if owner:
        age = datetime.now(UTC) - datetime.fromisoformat(owner["since"])
        seconds = int(age.total_seconds())
        what = f"{owner['verb']} of {owner['owner']} is under way for {seconds} s"
    else:
        what = "another change is under way"
    return Busy(f"{what}: no {verb} at the same time", "wait for it to end, then try again")


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal as Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat a request to end, and the end of the terminal, as Ctrl-C."""
    with _handled(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what puts things back come to its end, whatever is pressed meanwhile."""
    with _handled(signal.SIG_IGN, *ENDING):
        yield


@contextmanager
def kept_handlers() -> Iterator[dict[signal.Signals, Any]]:
    """Put back the handlers of all signals that end a process; gives those that there are."""
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _handled(handler: Any, *numbers: signal.Signals) -> Iterator[None]:  # noqa: ANN401 - of signal
    """Let a handler take signals; a hang-up that is ignored, as under nohup, stays ignored."""
    with kept_handlers() as before:
        for number in numbers:
            if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
                signal.signal(number, handler)
        yield


class StepFailed(Refused):
    """A step could not be made."""

    def __init__(self, number: str, step: str, why: str, fix: str = "") -> None:
        """Take the number and the name of the step."""
        super().__init__(f"step {number} ({step}): {why}", fix)
        self.step = step
        self.why = why


@dataclass
class StepUnderWay:
    """A step being made; its `detail` is printed when it has ended."""

    detail: str = ""


class Steps:
    """The numbered steps of one change: each is noted before it is made, and printed at its end."""

    def __init__(self, change: Change, names: Sequence[str], within: str = "") -> None:
        """Take their names in order; `within` is what comes before the numbers of a part."""
        self.change = change
        self.names = names
        self.within = within
        self.current = names[0]
        """The step under way, or the last one."""
        self.seconds: dict[str, float] = {}
        """What each took that has ended."""

    def number(self, name: str) -> str:
        """Return the number that a step is printed with."""
        return f"{self.within}{self.names.index(name) + 1}"

    def begin(self, name: str, **facts: object) -> None:
        """Note which step is made now, and what else is to be known of the change."""
        self.current = name
        self.change.note(**{"part" if self.within else "step": name}, **facts)

    @contextmanager
    def run(self, name: str, doing: str = "") -> Iterator[StepUnderWay]:
        """Make a step; one that may last says what it is `doing`.

        Raises:
            StepFailed: it was refused, or the disk does not take what has to be written.
        """
        self.begin(name)
        step, mark, start = StepUnderWay(), "stopped", time.monotonic()
        try:
            with output.show_waiting(self.line(name, doing)) if doing else nullcontext():
                yield step
            mark = "ok"
        except (Refused, OSError) as error:
            refused = error if isinstance(error, Refused) else write_failure(error)
            mark, step.detail = "FAILED", refused.what.partition("\n")[0]
            raise self.failure(name, refused.what, refused.fix) from error
        finally:
            self.report(name, mark, time.monotonic() - start, step.detail)

    def skip(self, name: str, why: str) -> None:
        """Print that a step is not needed."""
        self._print(name, "skipped", 0.0, why)

    def report(self, name: str, mark: str, seconds: float, detail: str = "") -> None:
        """Print how a step ended: ok, FAILED or stopped."""
        self.seconds[name] = round(seconds, 1)
        self._print(name, mark, self.seconds[name], detail)

    def failure(self, name: str, why: str, fix: str = "") -> StepFailed:
        """Return the error that says which step could not be made, and why."""
        return StepFailed(self.number(name), name, why, fix)

    def line(self, name: str, rest: str) -> str:
        """Begin a line with the number and the name of a step, in columns."""
        number = f"{self.number(name):>{len(self.number(self.names[-1]))}}"
        return f"{number} {name:<10} {rest}"

    def _print(self, name: str, mark: str, seconds: float, detail: str) -> None:
        shown = self.line(name, f"{mark:<8} {seconds:5.1f} s  {detail}")
        output.say(f"  {shown}".rstrip())
