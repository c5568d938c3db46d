"""What each serving process says of itself, in files that every other process can read.

A process holds a lock on `<host>.<pid>.lock` for as long as it lives, however it ends, and
replaces `<host>.<pid>.json` with what it serves.
"""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from . import memory
from .answers import BOUNDS, Answers, Count
from .serving import RELOAD, Models, Place
from .shared.console import explain

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds to wait for the own lock: who looks whether it is held holds it for a moment."""


class TierReport(BaseModel):
    """What a process serves of a tier, and what its link says it should."""

    file: str
    version: str
    sha256: str
    loaded_at: datetime | None
    load_seconds: float
    wanted: str
    wrong: str
    failures: int

    @classmethod
    def of(cls, place: Place) -> "TierReport":
        """Return what there is to say of a tier's place."""
        model = place.model
        return cls(
            file=place.file,
            version=model.metadata.version if model else "",
            sha256=model.metadata.sha256 if model else "",
            loaded_at=model.loaded_at if model else None,
            load_seconds=model.load_seconds if model else 0.0,
            wanted=place.wanted,
            wrong=place.wrong,
            failures=place.failures,
        )


class Report(BaseModel):
    """What a process says of itself; `touched` is the newest touch of RELOAD that it has seen."""

    host: str
    pid: int
    at: datetime
    started_at: datetime
    available_bytes: int | None
    touched: int
    tiers: dict[str, TierReport]
    bounds: list[float]
    answers: dict[str, Count]


class Reporter:
    """A process that serves, for the others to see; one that cannot write serves all the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.started_at = datetime.now(UTC)
        self.wrong = ""
        self._lock: int | None = None
        with self._said():
            self._lock = taken(self.lock, PATIENCE)

    @property
    def name(self) -> str:
        return f"{self.host}.{self.pid}"

    @property
    def lock(self) -> Path:
        return self.folder / f"{self.name}.lock"

    def report(self, models: Models, answers: Answers) -> Report:
        """Return what there is to say now."""
        return Report(
            host=self.host,
            pid=self.pid,
            at=datetime.now(UTC),
            started_at=self.started_at,
            available_bytes=memory.available(),
            touched=models.touched,
            tiers={tier: TierReport.of(place) for tier, place in models.places.items()},
            bounds=list(BOUNDS),
            answers=answers.counts(),
        )

    def write(self, report: Report) -> bool:
        """Replace what this process said; tell whether it could."""
        file, temporary = self.lock.with_suffix(".json"), self.folder / f".{self.name}.json"
        with self._said():
            if self._lock is None:
                self._lock = taken(self.lock, 0)
            temporary.write_text(report.model_dump_json() + "\n", encoding="utf-8")
            temporary.replace(file)
        return not self.wrong

    def close(self) -> None:
        """Be gone."""
        if self._lock is not None:
            with suppress(OSError):
                remove(self.lock)
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _said(self) -> Iterator[None]:
        wrong = ""
        try:
            yield
        except OSError as error:
            wrong = f"the served models cannot be reported: {explain(error)}"
        if wrong and wrong != self.wrong:
            log.error("%s", wrong)
        self.wrong = wrong


def taken(file: Path, patience: float) -> int:
    """Take the lock on a file, made if need be; return what holds it for as long as it is open.

    Raises OSError, also if another holds the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    limit = time.monotonic() + patience
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(descriptor, file):  # and was not removed since it was opened
                return descriptor
        except OSError as error:
            if not isinstance(error, BlockingIOError) or time.monotonic() > limit:
                os.close(descriptor)
                error.filename = str(file)
                raise
        os.close(descriptor)
        time.sleep(0.01)


def is_at(descriptor: int, file: Path) -> bool:
    """Return whether an open file is the one that is found by a name."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False


def living(folder: Path) -> dict[str, Report | None]:
    """Return what each living process says, by its name; None of one that has said nothing yet.

    What dead ones left is removed, where it can be.
    """
    return {
        file.stem: read(file.with_suffix(".json"))
        for file in sorted(folder.glob("*.lock"))
        if lives(file)
    }


def lives(file: Path) -> bool:
    """Return whether the lock on a file is held; remove what belongs to one that is not."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        with suppress(OSError):  # another looks at the same time, or nothing may be removed
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(descriptor, file):
                remove(file)
        return False
    finally:
        os.close(descriptor)


def remove(file: Path) -> None:
    """Remove the files of a process, the lock last; whoever calls this holds it."""
    file.with_name(f".{file.stem}.json").unlink(missing_ok=True)
    file.with_suffix(".json").unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def read(file: Path) -> Report | None:
    """Return a report, or None if there is none that can be read."""
    try:
        return Report.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def touch(folder: Path) -> None:
    """Have every process try again what it could not load; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    now, temporary = time.time_ns(), folder / f".{RELOAD}.{os.getpid()}"
    temporary.touch()
    os.utime(temporary, ns=(now, now))
    temporary.replace(folder / RELOAD)  # which may be another user's


class Lag(NamedTuple):
    """What a process does not serve that it should, and whether that may still come."""

    why: str
    waits: bool


def lags(name: str, said: Report | None, pointed: Mapping[str, str], touch: int) -> list[Lag]:
    """Return what a process lacks of what the links name, after a touch of RELOAD."""
    if said is None or said.touched != touch:
        return [Lag(f"process {name} has not checked yet", waits=True)]
    found = (lag(f"process {name}", said.tiers[tier], file) for tier, file in pointed.items())
    return [one for one in found if one]


def lag(process: str, said: TierReport, file: str) -> Lag | None:
    """Return what keeps a process from serving a file of a tier, or None if it does."""
    if file and said.file == file:
        return None
    if said.wrong and said.wanted == file:
        kept = f"serves {said.file}" if said.file else "serves nothing"
        return Lag(f"{process} {kept}: {said.wrong}", waits=False)
    return Lag(f"{process} is still loading {file}", waits=True)
