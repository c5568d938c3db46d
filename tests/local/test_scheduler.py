"""The scheduler as a process, with a real database: a night comes, and one was missed."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from slipway.backup import restore_point
from slipway.backup.schedule import service
from slipway.core import journal
from slipway.stack import health
from tests.models.test_registry import write
from tests.support import restore_points
from tests.support.copies import Copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.backup.restore_point import RestorePoint

SOON = """
import sys
from datetime import UTC, datetime, timedelta
from slipway.backup.schedule import service, timetable
from slipway.core import project
now = datetime.now(UTC)
ahead = timetable.next_due(now, timetable.parse_time("02:00")) - timedelta(seconds=2) - now
service.TICK = 0.1
given = {"APP_ENV": "dev", "BACKUP_AT": "02:00"}
loop = service.build_scheduler(project.load(), "local", given, lambda: datetime.now(UTC) + ahead)
sys.exit(service.serve_until_ended(loop.serve))
"""


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Return a repository with a database and a model, of which nothing runs."""
    made = Copy(tmp_path_factory.mktemp("nights") / "repository", SLIPWAY_ENGINE="local")
    made.inv("env.init")
    made.inv("db.migrate")
    write(made.root / "models", "tier1", "v1.0", current=True)
    return made


@contextmanager
def running(copy: Copy, *words: str) -> Iterator[None]:
    """Run a scheduler; at the end it is asked to end, and does."""
    log = copy.root / "scheduler.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [sys.executable, *words], cwd=copy.root, env=copy.environment, stdout=file, stderr=file
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)
    assert (process.returncode, "stopped" in log.read_text()) == (0, True), log.read_text()


def made(copy: Copy, count: int) -> RestorePoint:
    """Wait for the newest of so many restore points, and for all that follows on it."""
    deadline = time.monotonic() + 30
    while (
        len(found := restore_point.list_points(copy.root / "backups")) < count
        or not found[-1].verified
    ):
        assert time.monotonic() < deadline, (copy.root / "scheduler.log").read_text()
        time.sleep(0.05)
    while "next backup" not in (copy.root / "scheduler.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found[-1]


def test_a_night_that_comes_and_one_that_was_missed(copy: Copy) -> None:
    beat = f"file://{service.heartbeat_file(copy.root / 'run')}"
    with running(copy, "-c", SOON):
        first = made(copy, 1)
        assert health.probe_health(beat) == ""
    assert "No such file" in health.probe_health(beat)
    assert (first.kind, first.series) == ("scheduled", ("dev", "local"))
    assert first.content.tables.keys() >= {"observations", "predictions"}
    assert [*first.models] == ["tier1"]
    assert journal.entries(copy.root)[-1]["point"] == first.id

    now = datetime.now(UTC).replace(microsecond=0)
    restore_points.forge(first.folder, created_at=(now - timedelta(days=2)).isoformat())
    with running(copy, "-m", "slipway.backup.schedule.service", "--engine", "local"):
        second = made(copy, 2)
    assert second.kind == "scheduled"
    shown = copy.inv("backup.schedule")
    assert f"done, {second.id}" in shown
    assert "not scheduled" in shown
    assert "scheduler  stopped: not running" in shown
    assert (
        copy.inv("backup.schedule", "--cron")
        .splitlines()[1]
        .startswith(f"{copy.environment['BACKUP_AT'][3:].lstrip('0') or 0} ")
    )
    assert "no unit 'socket'" in copy.inv("backup.schedule", "--systemd", "socket", code=2)
