from __future__ import annotations

import json
import stat
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from slipway.backup import restore_point
from slipway.core.errors import Refused
from slipway.models import maintenance
from tests.support import restore_points

if TYPE_CHECKING:
    from pathlib import Path

SERIES = ("dev", "local")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def ids(folder: Path) -> list[str]:
    return [point.id for point in restore_point.list_points(folder)]


def test_a_point_says_what_it_holds_and_only_its_owner_reads_it(folder: Path) -> None:
    made = restore_points.write(folder, verified=False)
    (found,) = restore_point.list_points(folder)
    assert found == made
    assert found.content == restore_points.CONTENT
    assert found.models == {"tier1": "tier1_v1.0_2026-11-22.onnx"}
    assert found.size == sum(map(len, restore_points.FILES.values()))
    assert restore_point.damaged_files(found) == []
    assert restore_point.ID.fullmatch(found.id)
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(found.folder.stat().st_mode) == 0o700
    assert maintenance.restore_point_files(folder) == {"tier1_v1.0_2026-11-22.onnx": found.id}


def test_a_point_without_a_database_or_models_is_one_too(folder: Path) -> None:
    restore_points.write(folder, files={}, models={})
    (found,) = restore_point.list_points(folder)
    assert (found.size, found.models, found.missing) == (0, {}, [])


def test_the_sequence_orders_them_when_the_clock_is_set_back(folder: Path) -> None:
    first = restore_points.write(
        folder, restore_point.next_sequence(folder), restore_points.day(30)
    )
    second = restore_points.write(
        folder, restore_point.next_sequence(folder), restore_points.day(2)
    )
    assert second.sequence == first.sequence + 1
    assert ids(folder) == [first.id, second.id]
    assert restore_point.latest_point(folder, SERIES).id == second.id


def test_a_point_made_before_the_clock_was_set_back_has_no_age(folder: Path) -> None:
    made = restore_points.write(folder, at=datetime.now(UTC) + timedelta(days=1))
    assert made.age < timedelta()


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("database/dump", b"dumped " * 99, "has 693 bytes, the manifest says 700"),
        ("database/dump", b"dumped " * 99 + b"dumpel ", "sha256 is"),
        ("database/dump", b"", "has 0 bytes"),
        ("models/tier1_v1.0_2026-11-22.onnx", None, "is missing"),
    ],
)
def test_every_damage_is_found(folder: Path, name: str, content: bytes | None, wrong: str) -> None:
    made = restore_points.write(folder)
    path = made.folder / name
    path.unlink() if content is None else path.write_bytes(content)
    (said,) = restore_point.damaged_files(made)
    assert said.startswith(name)
    assert wrong in said


def test_a_point_whose_files_are_gone_is_not_good_however_it_was_verified(folder: Path) -> None:
    old = restore_points.write(folder, 1)
    new = restore_points.write(folder, 2, restore_points.day(1))
    assert restore_point.latest_point(folder, SERIES).id == new.id
    (new.folder / "database" / "dump").write_bytes(b"")
    assert restore_point.latest_point(folder, SERIES).id == old.id


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-40],
        lambda text: text.replace("observations", "observatiens"),
        lambda _: "",
        lambda _: "[]",
        lambda _: "null",
        lambda _: "{}",
    ],
)
def test_without_a_whole_manifest_there_is_no_point(folder: Path, spoil: object) -> None:
    assert callable(spoil)
    made = restore_points.write(folder)
    path = made.folder / "manifest.json"
    path.write_text(spoil(path.read_text()))
    assert restore_point.list_points(folder) == []
    ((name, wrong),) = restore_point.unreadable_points(folder)
    assert (name, wrong.startswith("its manifest cannot be read")) == (made.id, True)
    with pytest.raises(Refused, match=f"{made.id} cannot be used"):
        restore_point.find_point(folder, made.id)


@pytest.mark.parametrize(
    "changed",
    [
        {"files": {"../../.env.dev": {"bytes": 1, "sha256": ""}}},
        {"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}},
        {"files": {"database/../../x": {"bytes": 1, "sha256": ""}}},
        {"files": {"manifest.json": {"bytes": 1, "sha256": ""}}},
        {"files": {"": {"bytes": 1, "sha256": ""}}},
        {"models": {"tier1": "../../../secret"}},
        {"id": "../x"},
        {"id": "20260101-000000-ffff"},
        {"created_at": "yesterday"},
        {"created_at": "2026-11-01T00:00:00"},
        {"verified": "yes"},
        {"sequence": None},
        {"database": {}},
    ],
)
def test_a_manifest_that_was_made_up_is_none(folder: Path, changed: dict[str, object]) -> None:
    made = restore_points.write(folder)
    restore_points.forge(made.folder, **changed)
    assert restore_point.list_points(folder) == []
    assert len(restore_point.unreadable_points(folder)) == 1


def test_it_is_found_by_its_id_and_what_there_is_is_named_otherwise(folder: Path) -> None:
    with pytest.raises(Refused, match="the newest are: none"):
        restore_point.find_point(folder, "x")
    made = restore_points.write(folder)
    assert restore_point.find_point(folder, made.id) == made
    with pytest.raises(Refused, match=f"the newest are: {made.id}"):
        restore_point.find_point(folder, "20260101-000000-ffff")


def test_the_latest_is_the_newest_verified_one_of_the_same_data(folder: Path) -> None:
    good = restore_points.write(folder, 1)
    restore_points.write(folder, 2, verified=False)
    restore_points.write(folder, 3, profile="prod")
    restore_points.write(folder, 4, engine="compose")
    assert restore_point.latest_point(folder, SERIES).id == good.id
    with pytest.raises(Refused, match="no verified restore point of profile staging on engine loc"):
        restore_point.latest_point(folder, ("staging", "local"))


def test_marking_keeps_what_it_is_and_can_be_taken_back(folder: Path) -> None:
    made = restore_points.write(folder, verified=False)
    marked = restore_point.mark_verified(made, "by hand", 2.345)
    assert marked.verified == {"at": marked.manifest["verified"]["at"], "how": "by hand"} | {
        "seconds": 2.3
    }
    assert restore_point.list_points(folder) == [marked]
    assert restore_point.mark_verified(marked).verified is None
    text = (made.folder / "manifest.json").read_text()
    assert json.loads(text)["sha256"] == made.manifest["sha256"]


def test_what_was_killed_half_way_is_no_point_and_is_cleared(folder: Path) -> None:
    partial, _ = restore_point.begin_point(folder)
    (partial / "database" / "dump").write_bytes(b"half")
    kept = restore_points.write(folder)
    (folder / ".mine").mkdir()
    (folder / "notes").mkdir()
    assert restore_point.list_points(folder) == [kept]
    assert restore_point.unreadable_points(folder) == []
    assert restore_point.list_partials(folder) == [partial]
    restore_point.clear_partials(restore_point.list_partials(folder))
    assert sorted(path.name for path in folder.iterdir()) == sorted([".mine", kept.id, "notes"])


def test_a_point_is_deleted_by_its_name_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = restore_points.write(folder)

    def killed(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        restore_point.remove_point(made)
    monkeypatch.undo()
    assert restore_point.list_points(folder) == []
    assert len(restore_point.list_partials(folder)) == 1


def test_where_nothing_was_ever_made_there_is_nothing(folder: Path) -> None:
    assert [
        *restore_point.list_points(folder),
        *restore_point.unreadable_points(folder),
        *restore_point.list_partials(folder),
    ] == []
    assert restore_point.next_sequence(folder) > time.time() - 60


def test_what_a_restore_kept_of_the_live_data_is_never_the_newest(tmp_path: Path) -> None:
    good = restore_points.write(tmp_path)
    kept = restore_points.write(tmp_path, 2, kind=restore_point.SAFETY)
    points = [restore_point.mark_verified(point, "test") for point in (good, kept)]
    assert points[1].sequence > points[0].sequence
    assert restore_point.newest_point(tmp_path, good.series) == points[0]
