from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, cast

import pytest
from invoke.exceptions import Exit

from slipway.backup import create as backup_create
from slipway.backup import restore_point
from slipway.backup.databases.base import DatabaseContent, TableDigest
from slipway.core import journal, output
from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.core.transaction import StepFailed, Steps, change
from slipway.stack.session import Session
from tests.backup.test_archive import full_disk
from tests.models.test_registry import write
from tests.support import restore_points
from tests.support.scratch import IN_PLACE

if TYPE_CHECKING:
    from pathlib import Path

    from slipway.backup.databases.base import StackDatabase
    from slipway.backup.restore_point import RestorePoint
    from slipway.stack.engines.base import Engine, ServiceStatus

ROW = 1000


@dataclass
class Engineless:
    """An engine that has a name and images."""

    name: ClassVar[str] = "local"

    def images(self) -> dict[str, str]:
        return {"api": "sha256:0a"}

    def status(self) -> list[ServiceStatus]:
        return []


@dataclass
class Rows:
    """A database of a few bytes, which may be made to fail."""

    rows: int = 3
    fails: str = ""
    """The step that fails."""
    error: BaseException = field(default_factory=lambda: Refused("the server went away"))
    kind: str = "sqlite"

    def start(self, limit: float) -> bool:
        del limit
        return False

    def stop(self) -> None:
        raise AssertionError

    def content(self, rows: int) -> DatabaseContent:
        return DatabaseContent(
            "sqlite 3.46.1", "0002", "5e1f", {"observations": TableDigest(rows, str(rows))}
        )

    def dump(self, folder: Path) -> DatabaseContent:
        (folder / "rows").write_bytes(b"r" * ROW * self.rows)
        if self.fails == "dump":
            raise self.error
        return self.content(self.rows)

    def prove(self, folder: Path) -> DatabaseContent:
        if self.fails == "prove":
            raise self.error
        return self.content(len((folder / "rows").read_bytes()) // ROW)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    write(tmp_path / "models", "tier1", "v1.0", current=True)
    write(tmp_path / "models", "tier1", "v1.1").with_suffix(".sig").write_text("signed")
    write(tmp_path / "models", "tier2", "v1.0", current=True).with_suffix(".sig").write_text("me")
    (tmp_path / ".env.dev").write_text("API_KEY=the-secret-key\nAPI_PORT=8000\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.0"\n')
    journal.append(tmp_path, "deploy.up", outcome="done")
    return Session(Project(tmp_path, "A", "a", "a"), "dev", cast("Engine", Engineless()))


def create(session: Session, rows: Rows | None = None, *, prove: bool = True) -> RestorePoint:
    with change(session.project.root, "backup.create") as made:
        steps = Steps(made, backup_create.STEPS)
        database = cast("StackDatabase", rows or Rows())
        return backup_create.create_restore_point(session, steps, database, "manual", prove=prove)


def verify(session: Session, point: RestorePoint, rows: Rows | None = None) -> RestorePoint:
    with change(session.project.root, "backup.verify") as made:
        return backup_create.verify_restore_point(made, rows or Rows(), point)  # type: ignore[arg-type]


def there(session: Session) -> list[str]:
    return sorted(path.name for path in session.project.backups.iterdir())


def test_a_point_holds_all_that_a_recovery_needs(session: Session) -> None:
    point = create(session)
    said = point.manifest
    assert there(session) == [point.id]
    assert set(point.files) == {
        "database/rows",
        "models/tier1_v1.0_2026-11-22.onnx",
        "models/tier1_v1.0_2026-11-22.json",
        "models/tier2_v1.0_2026-11-22.onnx",
        "models/tier2_v1.0_2026-11-22.json",
        "models/tier2_v1.0_2026-11-22.sig",
    }
    assert point.models == {
        "tier1": "tier1_v1.0_2026-11-22.onnx",
        "tier2": "tier2_v1.0_2026-11-22.onnx",
    }
    assert (said["images"], said["journal"], said["revision"]) == (
        {"api": "sha256:0a"},
        {"entries": 1},
        "",
    )
    assert said["env"]["names"] == ["API_KEY", "API_PORT"]
    assert "the-secret-key" not in (point.folder / "manifest.json").read_text()
    assert point.verified
    assert point.verified["how"] == "when it was made"
    (*_, last) = journal.entries(session.project.root)
    assert (last["verb"], last["outcome"], last["point"]) == ("backup.create", "done", point.id)


def test_what_is_printed_says_each_step(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    point = create(session)
    said = [line.split() for line in capsys.readouterr().out.splitlines() if " ok " in line]
    assert [line[:3] for line in said] == [
        [str(number), name, "ok"] for number, name in enumerate(backup_create.STEPS[:-1], start=1)
    ]
    create(session, prove=False)
    assert "4 proof      skipped" in capsys.readouterr().out
    assert point.summary == "sqlite: 1 tables, 3 rows; tier1_v1.0, tier2_v1.0"


def test_without_a_proof_it_is_not_verified_until_it_is(session: Session) -> None:
    point = create(session, prove=False)
    assert (point.verified, point.state) == (None, "no")
    assert restore_point.newest_point(session.project.backups, point.series) is None
    proven = verify(session, point)
    assert proven.verified
    assert proven.state.endswith(" backup.verify")
    assert restore_point.latest_point(session.project.backups, point.series) == proven


@pytest.mark.parametrize("error", [Refused("the server went away"), OSError(28, "No space left")])
def test_a_dump_that_fails_leaves_nothing(session: Session, error: Exception) -> None:
    with pytest.raises(StepFailed, match=r"step 1 \(database\): .*(went away|No space left)"):
        create(session, Rows(fails="dump", error=error))
    assert there(session) == []


def test_interrupted_it_leaves_nothing(session: Session) -> None:
    with pytest.raises(Exit, match="interrupted"):
        create(session, Rows(fails="dump", error=KeyboardInterrupt()))
    assert there(session) == []


def test_what_cannot_be_restored_is_kept_and_not_verified(session: Session) -> None:
    with pytest.raises(StepFailed, match=r"step 4 \(proof\): it could not be restored: the serv"):
        create(session, Rows(fails="prove"))
    (point,) = restore_point.list_points(session.project.backups)
    assert point.verified is None


def test_what_is_restored_otherwise_is_not_verified(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rows, "prove", lambda self, _: self.content(2))
    with pytest.raises(
        StepFailed, match=r"differs from what was dumped: .*observations: 2 rows, not 3"
    ):
        create(session)
    (point,) = restore_point.list_points(session.project.backups)
    assert point.verified is None


def test_a_damaged_file_takes_the_mark_away_and_a_server_that_is_away_does_not(
    session: Session,
) -> None:
    point = create(session)
    with pytest.raises(StepFailed, match="went away"):
        verify(session, point, Rows(fails="prove"))
    assert restore_point.find_point(session.project.backups, point.id).verified
    (point.folder / "database" / "rows").write_bytes(b"R" * ROW * 3)
    with pytest.raises(StepFailed, match=r"step 1 \(files\): .*is damaged: database/rows: sha256"):
        verify(session, point)
    assert restore_point.find_point(session.project.backups, point.id).verified is None


def test_a_model_that_is_damaged_is_left_out_and_the_rest_is_not(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    (session.project.models / "tier1_v1.0_2026-11-22.onnx").write_bytes(b"flipped")
    (session.project.models / "tier3_current.onnx").symlink_to("gone.onnx")
    point = create(session)
    assert point.models == {"tier2": "tier2_v1.0_2026-11-22.onnx"}
    assert not [name for name in point.files if "tier1" in name]
    said = capsys.readouterr().out
    assert "LEFT OUT tier1" in said
    assert "LEFT OUT tier3: its link does not lead to a complete model: gone.onnx" in said


def test_another_kind_of_database_is_refused(session: Session) -> None:
    point = create(session)
    with pytest.raises(Refused, match="contains sqlite data, but this engine runs postgres"):
        backup_create.refuse_other_database(Rows(kind="postgres"), point)  # type: ignore[arg-type]


def test_a_full_disk_leaves_nothing_half_and_what_was_there(session: Session) -> None:
    with full_disk(session.project.backups):
        with pytest.raises(Refused, match=r"(No space left|cannot be read)"):
            create(session)
        assert restore_point.list_points(session.project.backups) == []
        assert restore_point.list_partials(session.project.backups) == []
        (session.project.backups / "filler").unlink()
        first = create(session, Rows(rows=30_000))
        with pytest.raises(StepFailed, match="No space left"):
            create(session, Rows(rows=50_000))
        assert restore_point.list_points(session.project.backups) == [first]
        assert restore_point.damaged_files(first) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from slipway.backup import create, restore_point
from tests.backup import test_create as here
from slipway.stack.session import Session
from slipway.core.project import Project

place, root = sys.argv[1], Path(sys.argv[2])

def killing(*_arguments, **_options):
    os.kill(os.getpid(), signal.SIGKILL)

module, name = {
    "database": (here.Rows, "content"),
    "models": (create.registry, "find_damage"),
    "manifest": (restore_point, "write_manifest"),
    "checksums": (restore_point, "measure_files"),
    "rename": (restore_point, "publish_point"),
    "proof": (here.Rows, "prove"),
    "mark": (restore_point, "mark_verified"),
}[place]
setattr(module, name, killing)
session = Session(Project(root, "A", "a", "a"), "dev", here.Engineless())
here.create(session)
"""


@pytest.mark.parametrize(
    ("step", "whole"),
    [
        ("database", False),
        ("models", False),
        ("checksums", False),
        ("manifest", False),
        ("rename", False),
        ("proof", True),
        ("mark", True),
    ],
)
def test_killed_at_any_step_nothing_half_is_a_restore_point(
    session: Session, step: str, whole: bool
) -> None:
    before = create(session)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, step, str(session.project.root)],
        env=IN_PLACE,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = session.project.backups
    assert restore_point.latest_point(folder, before.series) == before
    assert restore_point.damaged_files(before) == []
    left = restore_point.list_points(folder)[1:]
    assert [(point.verified, restore_point.damaged_files(point)) for point in left] == [
        (None, [])
    ] * whole
    assert len(restore_point.list_partials(folder)) == (not whole)
    after = create(session)
    assert restore_point.list_partials(folder) == []
    assert restore_point.latest_point(folder, before.series) == after
    said = [item for item in journal.entries(session.project.root) if item["outcome"] == "killed"]
    assert [item["verb"] for item in said] == ["backup.create"]


def test_of_two_at_once_the_second_is_refused(session: Session) -> None:
    with (
        change(session.project.root, "backup.create"),
        pytest.raises(Refused, match="at the same time"),
    ):
        create(session)
    assert not session.project.backups.exists()


def test_ages_and_sizes_are_written_in_the_unit_that_says_most() -> None:
    seconds = (0, 119, 120, 7199, 86400, 2 * 86400, -1)
    assert [output.format_elapsed(timedelta(seconds=count)) for count in seconds] == [
        "0 s",
        "119 s",
        "2 min",
        "119 min",
        "24 h",
        "2 d",
        "from the future",
    ]
    counts = (12, 3400, 5_600_000, 7_800_000_000)
    assert [output.format_size(count) for count in counts] == [
        "12 B",
        "3.4 kB",
        "5.6 MB",
        "7.8 GB",
    ]


def test_the_histories_of_the_tests_are_what_is_really_made(session: Session) -> None:
    point = create(session)
    made = restore_points.write(session.project.backups, 2)
    assert set(made.manifest) <= set(point.manifest)
