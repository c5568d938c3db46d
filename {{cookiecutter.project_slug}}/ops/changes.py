"""What every change of the stack has in common: one at a time, recorded, ended in good order."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from ops import journal
from ops.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

INTERRUPTED = 130


@contextmanager
def change(root: Path, verb: str, **facts: object) -> Iterator[None]:
    """Make one change: nobody else changes anything meanwhile, and how it ended is in the journal.

    Ctrl-C and a request to end (SIGTERM) both raise KeyboardInterrupt inside, so that the change
    can put things back.

    Raises:
        Refused: another change is under way, or the disk does not take what has to be written.
        Exit: the change was interrupted; its code is 130.
    """
    try:
        with _alone(root, verb), _interruptible(), journal.recorded(root, verb, **facts):
            yield
    except KeyboardInterrupt:
        raise Exit("interrupted", INTERRUPTED) from None
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> Refused:
    """Say what the disk refused, and what helps."""
    fix = {
        errno.ENOSPC: "free some space, then run it again",
        errno.EROFS: "make it writable, then run it again",
        errno.EACCES: "make it yours, then run it again",
    }
    place = error.filename or "the disk"
    return Refused(f"{place}: {error.strerror}", fix.get(error.errno or 0, "inv doctor"))


@contextmanager
def _alone(root: Path, verb: str) -> Iterator[None]:
    """Hold the lock of this repository; the kernel lets go of it when the process ends, however."""
    path = root / "run" / "lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _under_way(path) from error
        owner = {"verb": verb, "pid": os.getpid(), "since": datetime.now(UTC).isoformat()}
        file.truncate(0)
        file.write(json.dumps(owner))
        file.flush()
        yield


def _under_way(path: Path) -> Refused:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        age = datetime.now(UTC) - datetime.fromisoformat(owner["since"])
        what = f"{owner['verb']} (process {owner['pid']}) is under way for {age.seconds} s"
    except (OSError, ValueError, KeyError):
        what = "another change is under way"
    return Refused(f"{what}, and only one change is made at a time", "wait for it to end")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat a request to end as Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what puts things back come to its end, whatever is pressed meanwhile."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
