"""The loop: what it does of what is due, what it says, and that nothing ends it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from invoke.exceptions import Exit

from devtools.bake import TEMPLATE
from slipway.backup import archive, restore_point
from slipway.backup.retention import DAILY
from slipway.backup.schedule import nightly, service, timetable
from slipway.backup.schedule.service import ContainerSource, Scheduler
from slipway.backup.schedule.timetable import Timetable
from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.core.transaction import change
from slipway.stack import provenance
from tests.backup.test_create import Rows
from tests.support import restore_points
from tests.support.copies import REPOSITORY
from tests.support.scratch import IN_PLACE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipway.backup.restore_point import RestorePoint

TWO = timetable.parse_time("02:00")


@dataclass
class Clock:
    """A clock that is set."""

    now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def at(self, text: str) -> None:
        self.now = datetime.fromisoformat(f"2026-11-{text.replace(' ', 'T')}:00+00:00")


@dataclass
class Nights:
    """What is done at night, and what goes wrong in the next ones."""

    project: Project
    errors: list[BaseException] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def __call__(self) -> RestorePoint:
        if self.errors:
            raise self.errors.pop(0)
        point = restore_points.write(self.project.backups, kind="scheduled")
        self.made.append(point.id)
        return point


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "run" / "scheduler").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "env", tmp_path / "env")
    return Project(tmp_path, "A", "a", "a")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(project: Project) -> Nights:
    return Nights(project)


@pytest.fixture
def loop(project: Project, clock: Clock, work: Nights) -> Scheduler:
    return Scheduler(Timetable(TWO, clock()), work, project, clock)


def failures(project: Project) -> list[str]:
    return [entry["error"] for entry in journal.entries(project.root)]


def test_a_night_is_made_once(
    loop: Scheduler, clock: Clock, work: Nights, capsys: pytest.CaptureFixture[str]
) -> None:
    for now, made in (("22 01:59", 0), ("22 02:00", 1), ("22 02:00", 1), ("22 23:00", 1)):
        clock.at(now)
        loop.check_due()
        assert len(work.made) == made
    said = capsys.readouterr().out
    assert f"{work.made[0]} is verified; next backup: 2026-11-23 02:00 UTC" in said


def test_a_night_that_failed_is_told_recorded_and_tried_again(
    project: Project,
    loop: Scheduler,
    clock: Clock,
    work: Nights,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work.errors = [Refused("no server"), OSError(28, "No space left"), ValueError("strange")]
    for now in ("22 02:00", "22 02:05", "22 02:10", "22 02:20"):
        clock.at(now)
        loop.check_due()
    assert failures(project) == ["no server", "[Errno 28] No space left", "ValueError: strange"]
    assert not work.made
    clock.at("22 02:30")
    loop.check_due()
    assert len(work.made) == 1
    said = capsys.readouterr()
    assert "FAILED, there is no new verified restore point: no server" in said.out
    assert "next attempt: in 10 minutes" in said.out
    assert "Traceback" in said.err  # of what nobody expected


def test_after_the_last_try_the_next_night_follows(
    project: Project, loop: Scheduler, clock: Clock, work: Nights
) -> None:
    work.errors = [Refused("no server") for _ in range(timetable.RETRIES + 1)]
    clock.at("22 02:00")
    for _ in range(3 * timetable.RETRIES):
        loop.check_due()
        clock.now += timetable.PAUSE
    assert (len(failures(project)), work.made) == (timetable.RETRIES + 1, [])
    clock.at("23 02:00")
    loop.check_due()
    assert len(work.made) == 1


def test_another_change_is_waited_for_and_not_for_ever(
    project: Project,
    loop: Scheduler,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loop.run_nightly = lambda: nightly.run_nightly(ContainerSource(project, "dev"), Rows())  # type: ignore[arg-type]
    clock.at("22 02:00")
    with change(project.root, "deploy.up"):
        for _ in range(3):
            loop.check_due()
        assert capsys.readouterr().out.count("waiting up to 60 minutes: deploy.up of") == 1
        assert journal.entries(project.root) == []
        monkeypatch.setattr(service, "LOCK_PATIENCE", 0)
        loop.check_due()
    (error,) = [item["error"] for item in journal.entries(project.root) if "error" in item]
    assert "no backup.create at the same time" in error
    clock.at("22 02:10")
    loop.check_due()
    assert [point.kind for point in restore_point.list_points(project.backups)] == ["scheduled"]


def test_who_is_asked_to_end_ends(loop: Scheduler, clock: Clock, work: Nights) -> None:
    work.errors = [Exit("interrupted", 130)]
    clock.at("22 02:00")
    with pytest.raises(Exit, match="interrupted"):
        loop.check_due()


def test_while_it_is_at_work_it_shows_life(
    project: Project, loop: Scheduler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = service.heartbeat_file(project.run)
    monkeypatch.setattr(service, "TICK", 0.01)

    def run_nightly() -> RestorePoint:
        beat.unlink(missing_ok=True)
        deadline = time.monotonic() + 10
        while not beat.exists():
            assert time.monotonic() < deadline
        return restore_points.write(project.backups)

    loop.run_nightly = run_nightly
    clock.at("22 02:00")
    loop.check_due()
    assert loop.timetable.handled == clock()


def test_a_night_makes_a_proven_point_with_what_was_noted_and_makes_room(project: Project) -> None:
    for day in range(DAILY + 3):
        restore_points.write(
            project.backups, day + 1, restore_points.day(day), engine="compose", kind="scheduled"
        )
    by_hand = restore_points.write(project.backups, 1, restore_points.day(0), engine="compose")
    said = {"images": {"api": "sha256:0a"}, "revision": "c0ffee", "env": {"names": ["API_KEY"]}}
    provenance.write_provenance(project, {"profile": "dev", "engine": "compose", **said})
    point = nightly.run_nightly(ContainerSource(project, "dev"), Rows())  # type: ignore[arg-type]
    assert point.verified
    assert (point.kind, point.series) == ("scheduled", ("dev", "compose"))
    assert {name: point.manifest[name] for name in said} == said
    made, pruned = journal.entries(project.root)
    assert (made["verb"], made["kind"], made["point"]) == ("backup.create", "scheduled", point.id)
    assert (pruned["verb"], len(pruned["deleted"])) == ("backup.prune", 4)
    left = restore_point.list_points(project.backups)
    assert (len(left), left[0].id) == (DAILY + 1, by_hand.id)
    assert (
        nightly.describe_run(made) == f"{made['at'][:16].replace('T', ' ')} UTC: done, {point.id}"
    )
    assert nightly.last_nightly_run([made, pruned]) == made


def test_a_night_leaves_what_was_imported_and_not_verified_yet(
    project: Project, tmp_path: Path
) -> None:
    elsewhere, old = {"engine": "compose", "kind": "scheduled"}, restore_points.day(-40)
    there = restore_points.write(tmp_path / "there", 0, old, **elsewhere)  # type: ignore[arg-type]
    file = archive.write_archive(there, tmp_path / "carried.tar")
    made = archive.unpack_archive(file, project.backups)
    for day in range(DAILY + 3):
        at, proven = restore_points.day(day), day > 1
        restore_points.write(project.backups, day + 1, at, verified=proven, **elsewhere)  # type: ignore[arg-type]
    nightly.run_nightly(ContainerSource(project, "dev"), Rows())  # type: ignore[arg-type]
    left = restore_point.list_points(project.backups)
    assert (len(left), left[0].id, left[0].imported) == (DAILY + 1, made.id, True)


def test_what_was_noted_of_another_stack_is_not_believed(project: Project) -> None:
    provenance.write_provenance(
        project, {"profile": "prod", "engine": "compose", "images": {"api": "x"}}
    )
    assert provenance.read_provenance(project, "dev", "compose")["images"] == {}
    (project.run / "scheduler" / "provenance.json").write_text("{")
    assert provenance.read_provenance(project, "prod", "compose")["env"]["names"] == []


def test_a_night_that_cannot_make_room_is_a_night_all_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prune(_setting: ContainerSource, _newest: RestorePoint) -> None:
        raise Refused("somebody is at work")

    monkeypatch.setattr(nightly, "prune_nightly", prune)
    assert nightly.run_nightly(ContainerSource(project, "dev"), Rows()).verified  # type: ignore[arg-type]
    assert "NOT deleted: somebody is at work" in capsys.readouterr().out


def test_what_could_not_be_proven_does_not_pile_up(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unproven(*_: object) -> None:
        raise Refused("no room for a proof")

    rows = Rows()
    monkeypatch.setattr(rows, "prove", unproven)
    for _ in range(4):
        with pytest.raises(Refused, match="no room for a proof"):
            nightly.run_nightly(ContainerSource(project, "dev"), rows)  # type: ignore[arg-type]
    assert len(restore_point.list_points(project.backups)) == 2
    assert nightly.run_nightly(ContainerSource(project, "dev"), Rows()).verified  # type: ignore[arg-type]
    assert [one.good for one in restore_point.list_points(project.backups)] == [True]


def test_a_night_goes_by_the_policy_that_was_set(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_KEEP", "1,2")
    for day in range(20):
        at = restore_points.day(day)
        restore_points.write(project.backups, day + 1, at, engine="compose", kind="scheduled")
    made = nightly.run_nightly(ContainerSource(project, "dev"), Rows())  # type: ignore[arg-type]
    left = restore_point.list_points(project.backups)
    assert len(left) == 2
    assert left[-1].id == made.id


def test_a_night_copies_off_site_what_is_not_there_yet(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = project.root / "storage"
    monkeypatch.setenv("BACKUP_URL", f"file://{storage}")
    first = nightly.run_nightly(ContainerSource(project, "dev"), Rows())  # type: ignore[arg-type]
    assert "NOT copied off-site: " in capsys.readouterr().out
    storage.mkdir()
    second = nightly.run_nightly(ContainerSource(project, "dev"), Rows())  # type: ignore[arg-type]
    assert [path.stem for path in storage.glob("*.json")] == [second.id]  # one a day stays
    copied = [item for item in journal.entries(project.root) if item["verb"] == "backup.export"]
    assert [item["outcome"] for item in copied] == ["failed", "done"]
    assert copied[-1]["copied"] == [first.id, second.id]


@pytest.mark.parametrize(
    ("made", "handled"),
    [
        ([], "22 12:00"),  # a first start has missed nothing
        ([("manual", 20)], "22 12:00"),
        ([("scheduled", 19)], "20 02:00"),
        ([("scheduled", 19), ("manual", 20)], "20 02:00"),
    ],
)
def test_what_was_missed_is_what_followed_the_last_scheduled_point(
    project: Project, clock: Clock, made: list[tuple[str, int]], handled: str
) -> None:
    for number, (kind, day) in enumerate(made, start=1):
        at = restore_points.day(day)
        restore_points.write(project.backups, number, at, kind=kind, engine="local")
    clock.at("22 12:00")
    loop = service.build_scheduler(project, "local", {"BACKUP_AT": "02:00"}, clock)
    expected = Clock()
    expected.at(handled)
    assert loop.timetable == Timetable(TWO, expected())
    assert loop.timetable.due(clock()) == (handled != "22 12:00")


def test_a_night_whose_proof_was_cut_short_is_missed_too(project: Project, clock: Clock) -> None:
    for number, day in enumerate((18, 19), start=1):
        at, proven = restore_points.day(day), number == 1
        restore_points.write(project.backups, number, at, kind="scheduled", verified=proven)
    loop = service.build_scheduler(project, "local", {"APP_ENV": "dev"}, clock)
    assert loop.timetable.handled == restore_points.day(18)


def test_a_machine_that_is_off_every_night_misses_the_first_one_too(
    project: Project, clock: Clock
) -> None:
    for now, due in (("21 12:00", False), ("21 18:00", False), ("22 09:00", True)):
        clock.at(now)
        loop = service.build_scheduler(project, "local", {}, clock)
        assert loop.timetable.due(clock()) == due


def test_a_time_that_is_none_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(TEMPLATE)
    monkeypatch.setenv("BACKUP_AT", "half past two")
    assert service.main(["--engine", "local"]) == 2
    assert "not 'half past two'" in capsys.readouterr().out


LOOP = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from slipway.backup.schedule import service
from slipway.core.project import Project
from slipway.backup.schedule.timetable import Timetable, parse_time
from tests.backup.test_service import {night}
project = Project(Path(sys.argv[1]), "A", "a", "a")
handled = datetime.now(UTC) - timedelta(days={days})
loop = service.Scheduler(Timetable(parse_time("02:00"), handled), {night}(project), project)
sys.exit(service.serve_until_ended(loop.serve))
"""


def hanging(project: Project) -> Callable[[], RestorePoint]:
    """Return a night whose dump goes on for ever."""

    @dataclass
    class Hanging(Rows):
        def dump(self, folder: Path) -> None:  # type: ignore[override]
            (folder / "rows").write_bytes(b"r")
            (project.root / "dumping").touch()
            time.sleep(60)

    return lambda: nightly.run_nightly(ContainerSource(project, "dev"), Hanging())  # type: ignore[arg-type]


@pytest.mark.parametrize(("days", "sign"), [(0, "run/scheduler/beat"), (3, "dumping")])
def test_a_request_to_end_ends_it_and_leaves_no_half_point(
    project: Project, days: int, sign: str
) -> None:
    script = LOOP.format(night="hanging", days=days)
    command = [sys.executable, "-c", script, str(project.root)]
    with subprocess.Popen(
        command, env=IN_PLACE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + 20
        while not (project.root / sign).exists():
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        start = time.monotonic()
        process.terminate()
        said = process.communicate(timeout=10)[0]
    assert time.monotonic() - start < 5
    assert process.returncode == 0, said
    assert said.splitlines()[-1].endswith("stopped")
    assert "Traceback" not in said
    assert [
        *restore_point.list_points(project.backups),
        *restore_point.list_partials(project.backups),
    ] == []
    outcomes = [entry["outcome"] for entry in journal.entries(project.root)]
    assert outcomes == (["interrupted"] if days else [])
    assert not service.heartbeat_file(project.run).exists()
