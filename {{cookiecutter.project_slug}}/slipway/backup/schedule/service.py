"""The service `scheduler`: a restore point every night, and one that was missed as soon as it can.

`python -m slipway.backup.schedule.service` runs inside the stack: in a container that reaches
PostgreSQL over the network, with its tools in its own image and no way to the container engine;
with `--engine local` as a process beside the others.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from slipway.backup.databases.postgres import PostgresDatabase
from slipway.backup.databases.runners import HostScriptRunner
from slipway.backup.databases.select import open_database
from slipway.backup.schedule import nightly
from slipway.backup.schedule import timetable as schedule_timetable
from slipway.backup.schedule.timetable import Timetable
from slipway.config import values
from slipway.config.schema import COMPOSE, LOCAL
from slipway.core import files, journal, output, project
from slipway.core.errors import Refused
from slipway.core.transaction import Busy, interruptible, unwritable
from slipway.stack import provenance, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.backup.restore_point import RestorePoint
    from slipway.core.project import Project

TICK = 5.0
"""Seconds between two looks at the clock: it may be set, and the machine may have slept."""
LOCK_PATIENCE = 3600.0
"""Seconds to wait for another change to end."""
LONGEST_RUN = 12 * 3600.0
"""Seconds of a night, after which nobody is told that all is well any more."""


@dataclass(frozen=True)
class ContainerSource:
    """The stack as one of its own containers sees it."""

    project: Project
    profile: str

    @property
    def series(self) -> tuple[str, str]:
        """Whose data it is."""
        return (self.profile, COMPOSE)

    def describe_provenance(self) -> dict[str, Any]:
        """Return what was noted when the stack was brought up."""
        return provenance.read_provenance(self.project, self.profile, COMPOSE)


def heartbeat_file(run: Path) -> Path:
    """Return the file whose age says whether the scheduler is well."""
    return run / "scheduler" / "beat"


class Scheduler:
    """Looks at the clock, and has the night's work done when it is due."""

    def __init__(
        self,
        timetable: Timetable,
        night: Callable[[], RestorePoint],
        project: Project,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take what there is to do, and when; nothing is done yet."""
        self.timetable = timetable
        self.night = night
        self.project = project
        self.clock = clock
        self.waiting: float | None = None
        """Since when another change is waited for, by a clock that nobody sets."""

    def serve(self) -> None:
        """Go on until somebody ends this process."""
        beat = heartbeat_file(self.project.run)
        beat.parent.mkdir(parents=True, exist_ok=True)
        self._say(f"the next restore point: {self._next()}")
        try:
            while True:
                with suppress(OSError):  # a full disk; it is unhealthy then, and goes on
                    beat.touch()
                self.look()
                time.sleep(TICK)
        finally:
            beat.unlink(missing_ok=True)

    def look(self) -> None:
        """Do what is due now; nothing that goes wrong ends this."""
        now = self.clock()
        self.timetable = self.timetable.seen(now)
        if not self.timetable.due(now):
            return
        before = self._recorded()
        try:
            with _beating(heartbeat_file(self.project.run)):
                point = self.night()
        except Busy as error:
            self._wait(now, error)
        except Refused as error:
            self._lost(now, error.what, before)
        except Exit:  # it was ended
            raise
        except OSError as error:
            self._lost(now, str(error), before)
        except Exception as error:  # noqa: BLE001 - a loop that ends makes no backup at all
            traceback.print_exc()
            self._lost(now, f"{type(error).__name__}: {error}", before)
        else:
            self.waiting = None
            self.timetable = self.timetable.done(now)
            self._say(f"restore point {point.id} is verified; the next one: {self._next()}")

    def _wait(self, now: datetime, error: Busy) -> None:
        """Try again at the next look, until that takes too long."""
        if self.waiting is None:
            self.waiting = time.monotonic()
            self._say(f"waiting up to {LOCK_PATIENCE / 60:.0f} minutes: {error.what}")
        elif time.monotonic() - self.waiting > LOCK_PATIENCE:
            self._lost(now, error.what, self._recorded())

    def _recorded(self) -> dict[str, Any] | None:
        return nightly.last_nightly_run(journal.entries(self.project.root))

    def _lost(self, now: datetime, why: str, before: dict[str, Any] | None) -> None:
        """Tell of a try that failed, and record it where that was not done."""
        self.waiting = None
        if self._recorded() == before:
            with suppress(OSError):  # it is in the log in any case
                nightly.record_failure(self.project.root, why)
        self.timetable = self.timetable.lost(now)
        minutes = schedule_timetable.PAUSE.total_seconds() / 60
        again = f"in {minutes:.0f} minutes" if self.timetable.failed else self._next()
        self._say(f"FAILED, no proven restore point was made: {why}")
        self._say(f"the next try: {again}")

    def _next(self) -> str:
        at = self.timetable.at
        if self.timetable.due(self.clock()):
            return "now, one was missed"
        return f"{schedule_timetable.next_due(self.clock(), at):%Y-%m-%d %H:%M} UTC"

    def _say(self, what: str) -> None:
        output.say(f"{self.clock():%Y-%m-%d %H:%M:%S} UTC  {what}")


@contextmanager
def _beating(beat: Path) -> Iterator[None]:
    """Show life while the one thread that does so otherwise is at work."""
    over = threading.Event()
    deadline = time.monotonic() + LONGEST_RUN

    def go_on() -> None:
        while not over.wait(TICK) and time.monotonic() < deadline:
            with suppress(OSError):
                beat.touch()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def nightly_in_container(here: Project, profile: str) -> Callable[[], RestorePoint]:
    """Return what a night does in a container of the stack."""
    database = PostgresDatabase(HostScriptRunner(), here.env_file(profile).name)
    return lambda: nightly.run_nightly(ContainerSource(here, profile), database)


def nightly_as_process(profile: str) -> Callable[[], RestorePoint]:
    """Return what a night does as a process of this machine."""

    def night() -> RestorePoint:
        opened = session.open_session(profile, LOCAL, whole=False)  # it is handed what it reads
        return nightly.run_nightly(opened, open_database(opened))

    return night


def build_scheduler(
    here: Project, engine: str, given: Mapping[str, str], clock: Callable[[], datetime]
) -> Scheduler:
    """Return the scheduler of a stack; at its very first start it has missed nothing.

    Raises:
        Refused: BACKUP_AT is no time of day.
    """
    profile = values.profile_name(given.get("APP_ENV", ""))
    at = schedule_timetable.parse_time(given.get("BACKUP_AT") or schedule_timetable.DEFAULT)
    handled = nightly.last_nightly_point(here.backups, (profile, engine)) or _first(
        here.run, clock()
    )
    night = nightly_as_process(profile) if engine == LOCAL else nightly_in_container(here, profile)
    return Scheduler(Timetable(at, handled), night, here, clock)


def _first(run: Path, now: datetime) -> datetime:
    """Return when a scheduler was first started here: a machine may be off every night."""
    path = run / "scheduler" / "since"
    with suppress(OSError, ValueError):
        return datetime.fromisoformat(path.read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replaced(path, now.isoformat())
    return now


def serve_until_ended(serve: Callable[[], None]) -> int:
    """Serve until a signal asks to end; that ends at once what is not at work."""
    try:
        with interruptible():
            serve()
    except (KeyboardInterrupt, Exit):
        output.say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  ended")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Serve the stack that this process is a part of."""
    engine = LOCAL if [*arguments] == ["--engine", LOCAL] else COMPOSE
    try:
        found = build_scheduler(project.load(), engine, os.environ, lambda: datetime.now(UTC))
    except Refused as error:
        output.say(str(error))
        return error.code or 1
    except OSError as error:  # a disk that is full, or of another user
        output.say(str(unwritable(error)))
        return 1
    return serve_until_ended(found.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
