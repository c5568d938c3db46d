"""The service `scheduler`: a nightly backup, and a missed one as soon as possible.

`python -m slipway.backup.schedule.service` runs inside the stack: in a container that reaches
PostgreSQL over the network, with its tools in its own image and no access to the container engine;
with `--engine local`, as a process beside the others.
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
from slipway.core.transaction import Busy, interruptible, write_failure
from slipway.stack import provenance, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.backup.restore_point import RestorePoint
    from slipway.core.project import Project

TICK = 5.0
"""Seconds between two looks at the clock: it may be set, and the machine may have slept."""
LOCK_PATIENCE = 3600.0
"""Seconds to wait for another change to finish."""
LONGEST_RUN = 12 * 3600.0
"""Seconds after which a backup that is still running no longer counts as healthy."""


@dataclass(frozen=True)
class ContainerSource:
    """The stack as one of its own containers sees it."""

    project: Project
    profile: str

    @property
    def series(self) -> tuple[str, str]:
        """The profile and engine of the data."""
        return (self.profile, COMPOSE)

    def describe_provenance(self) -> dict[str, Any]:
        """Return what was written when the stack was brought up."""
        return provenance.read_provenance(self.project, self.profile, COMPOSE)


def heartbeat_file(run: Path) -> Path:
    """Return the file whose age shows whether the scheduler is healthy."""
    return run / "scheduler" / "beat"


class Scheduler:
    """Watches the clock, and runs the nightly backup when it is due."""

    def __init__(
        self,
        timetable: Timetable,
        run_nightly: Callable[[], RestorePoint],
        project: Project,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.timetable = timetable
        self.run_nightly = run_nightly
        self.project = project
        self.clock = clock
        self.waiting_since: float | None = None
        """When the wait for another change began, by the monotonic clock."""

    def serve(self) -> None:
        """Run until the process is stopped."""
        beat = heartbeat_file(self.project.run)
        beat.parent.mkdir(parents=True, exist_ok=True)
        self._say(f"next backup: {self._next()}")
        try:
            while True:
                with suppress(OSError):  # a full disk: the service is unhealthy, and continues
                    beat.touch()
                self.check_due()
                time.sleep(TICK)
        finally:
            beat.unlink(missing_ok=True)

    def check_due(self) -> None:
        """Run the backup if it is due; no failure ends the service."""
        now = self.clock()
        self.timetable = self.timetable.after_clock_change(now)
        if not self.timetable.due(now):
            return
        before = self._recorded()
        try:
            with _beating(heartbeat_file(self.project.run)):
                point = self.run_nightly()
        except Busy as error:
            self._wait(now, error)
        except Refused as error:
            self._record_failure(now, error.what, before)
        except Exit:  # a request to stop
            raise
        except OSError as error:
            self._record_failure(now, str(error), before)
        except Exception as error:  # noqa: BLE001 - a scheduler that has ended makes no backups
            traceback.print_exc()
            self._record_failure(now, f"{type(error).__name__}: {error}", before)
        else:
            self.waiting_since = None
            self.timetable = self.timetable.after_success(now)
            self._say(f"restore point {point.id} is verified; next backup: {self._next()}")

    def _wait(self, now: datetime, error: Busy) -> None:
        """Try again at the next tick, until that has taken too long."""
        if self.waiting_since is None:
            self.waiting_since = time.monotonic()
            self._say(f"waiting up to {LOCK_PATIENCE / 60:.0f} minutes: {error.what}")
        elif time.monotonic() - self.waiting_since > LOCK_PATIENCE:
            self._record_failure(now, error.what, self._recorded())

    def _recorded(self) -> dict[str, Any] | None:
        return nightly.last_nightly_run(journal.entries(self.project.root))

    def _record_failure(self, now: datetime, why: str, before: dict[str, Any] | None) -> None:
        """Report a failed attempt, and record it if the change itself did not."""
        self.waiting_since = None
        if self._recorded() == before:
            with suppress(OSError):  # the log has it in any case
                nightly.record_failure(self.project.root, why)
        self.timetable = self.timetable.after_failure(now)
        minutes = schedule_timetable.PAUSE.total_seconds() / 60
        again = f"in {minutes:.0f} minutes" if self.timetable.failed else self._next()
        self._say(f"FAILED, there is no new verified restore point: {why}")
        self._say(f"next attempt: {again}")

    def _next(self) -> str:
        at = self.timetable.at
        if self.timetable.due(self.clock()):
            return "now, the last one was missed"
        return f"{schedule_timetable.next_due(self.clock(), at):%Y-%m-%d %H:%M} UTC"

    def _say(self, what: str) -> None:
        output.say(f"{self.clock():%Y-%m-%d %H:%M:%S} UTC  {what}")


@contextmanager
def _beating(beat: Path) -> Iterator[None]:
    """Keep the heartbeat going while the main thread runs a backup."""
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
    """Return the nightly backup as it runs in a container of the stack."""
    database = PostgresDatabase(HostScriptRunner(), here.env_file(profile).name)
    return lambda: nightly.run_nightly(ContainerSource(here, profile), database)


def nightly_as_process(profile: str) -> Callable[[], RestorePoint]:
    """Return the nightly backup as it runs in a process of this machine."""

    def run_nightly() -> RestorePoint:
        opened = session.open_session(
            profile, LOCAL, whole=False
        )  # it is given only the variables it reads
        return nightly.run_nightly(opened, open_database(opened))

    return run_nightly


def build_scheduler(
    here: Project, engine: str, given: Mapping[str, str], clock: Callable[[], datetime]
) -> Scheduler:
    """Build the scheduler of a stack; at its first start it has missed nothing.

    Raises:
        Refused: BACKUP_AT is not a time of day.
    """
    profile = values.profile_name(given.get("APP_ENV", ""))
    at = schedule_timetable.parse_time(given.get("BACKUP_AT") or schedule_timetable.DEFAULT)
    handled = nightly.last_nightly_point(here.backups, (profile, engine)) or _first(
        here.run, clock()
    )
    night = nightly_as_process(profile) if engine == LOCAL else nightly_in_container(here, profile)
    return Scheduler(Timetable(at, handled), night, here, clock)


def _first(run: Path, now: datetime) -> datetime:
    """Return when a scheduler was first started here: the machine may be off every night."""
    path = run / "scheduler" / "since"
    with suppress(OSError, ValueError):
        return datetime.fromisoformat(path.read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace_file(path, now.isoformat())
    return now


def serve_until_ended(serve: Callable[[], None]) -> int:
    """Serve until a signal asks to stop; an idle scheduler stops at once."""
    try:
        with interruptible():
            serve()
    except (KeyboardInterrupt, Exit):
        output.say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  stopped")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the scheduler of the stack that this process belongs to."""
    engine = LOCAL if [*arguments] == ["--engine", LOCAL] else COMPOSE
    try:
        found = build_scheduler(project.load(), engine, os.environ, lambda: datetime.now(UTC))
    except Refused as error:
        output.say(str(error))
        return error.code or 1
    except OSError as error:  # a full disk, or one that this user cannot write to
        output.say(str(write_failure(error)))
        return 1
    return serve_until_ended(found.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
