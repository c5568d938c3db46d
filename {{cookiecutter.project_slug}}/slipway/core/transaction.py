"""What every change of the stack has in common: one at a time, recorded, ended in good order."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from slipway.backup import metrics
from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.files import replaced
from slipway.core.redaction import masked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

INTERRUPTED = 130


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
        replaced(_notes(self.root), masked(json.dumps(content, default=str)))

    def commit(self, **facts: object) -> None:
        """Record that it is done, while it can still be put back if that cannot be recorded."""
        self.facts.update(facts)
        journal.append(self.root, self.verb, outcome="done", since=self.since, **self.facts)
        self.committed = True


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
                with suppress(OSError):  # they follow from the rest, and are written anew
                    metrics.renew(root)
    except KeyboardInterrupt as error:
        raise Exit(str(error) or "interrupted", INTERRUPTED) from None
    except OSError as error:
        raise unwritable(error) from error


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


def unwritable(error: OSError) -> Refused:
    """Say what the disk refused, and what helps."""
    fix = {
        errno.ENOSPC: "free some space, then run it again",
        errno.EROFS: "make it writable, then run it again",
        errno.EACCES: "make it yours, then run it again",
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


def killed(root: Path) -> dict[str, Any] | None:
    """Return what was noted of a change that was killed, and that no other one followed."""
    return None if under_way(root) else _left(root)


def under_way(root: Path) -> bool:
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
    left = noted(root)
    last = (journal.entries(root) or [{}])[-1]
    same = left and all(left[key] == last.get(key) for key in ("verb", "since"))
    return None if same else left


def noted(root: Path) -> dict[str, Any] | None:
    """Return what is noted of the change that is under way, or was killed."""
    try:
        said: dict[str, Any] = json.loads(_notes(root).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said


def _notes(root: Path) -> Path:
    return root / "run" / "change.json"


def _under_way(root: Path, verb: str) -> Refused:
    owner = noted(root)
    if owner:
        age = datetime.now(UTC) - datetime.fromisoformat(owner["since"])
        seconds = int(age.total_seconds())
        what = f"{owner['verb']} of {owner['owner']} is under way for {seconds} s"
    else:
        what = "another change is under way"
    return Busy(f"{what}: no {verb} at the same time", "wait for it to end, then try again")


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat a request to end, and the end of the terminal, as Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _handled(handler: Any, *numbers: signal.Signals) -> Iterator[None]:  # noqa: ANN401 - of signal
    """Let a handler take signals; a hang-up that is ignored, as under nohup, stays ignored."""
    before = {number: signal.getsignal(number) for number in numbers}
    ignored = before.get(signal.SIGHUP) == signal.SIG_IGN
    taken = [number for number in numbers if not (number == signal.SIGHUP and ignored)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what puts things back come to its end, whatever is pressed meanwhile."""
    with _handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield
