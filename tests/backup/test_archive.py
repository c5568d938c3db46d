from __future__ import annotations

import io
import json
import stat
import tarfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from slipway.backup import archive as backup_archive
from slipway.backup import catalog, restore_point
from slipway.backup.retention import RetentionPolicy
from slipway.core.errors import Refused
from slipway.core.transaction import change
from tests.support import promotions, restore_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from slipway.backup.restore_point import RestorePoint

BLOCK = 512


@pytest.fixture
def point(tmp_path: Path) -> RestorePoint:
    return restore_points.write(tmp_path / "backups")


@pytest.fixture
def archive(point: RestorePoint, tmp_path: Path) -> Path:
    return backup_archive.write_archive(point, tmp_path / "carried.tar")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere"


def refused(archive: Path, elsewhere: Path) -> str:
    """Read an archive that is not whole; return why it is refused."""
    with pytest.raises(Refused) as caught:
        backup_archive.unpack_archive(archive, elsewhere)
    assert not elsewhere.exists() or [*elsewhere.iterdir()] == []
    return caught.value.what


def test_it_comes_out_as_it_went_in(point: RestorePoint, archive: Path, elsewhere: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    made = backup_archive.unpack_archive(archive, elsewhere)
    assert (made.id, restore_points.signed(made)) == (point.id, restore_points.signed(point))
    assert restore_point.damaged_files(made) == []
    assert backup_archive.read_manifest(archive) == point.manifest
    assert {path.name for path in elsewhere.iterdir()} == {point.id}


def test_a_folder_takes_it_under_its_id(point: RestorePoint, tmp_path: Path) -> None:
    assert backup_archive.write_archive(point, tmp_path) == tmp_path / f"{point.id}.tar"


def test_nothing_is_ever_overwritten(point: RestorePoint, archive: Path, elsewhere: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(Refused, match="exists already"):
        backup_archive.write_archive(point, archive)
    assert archive.read_bytes() == before
    backup_archive.unpack_archive(archive, elsewhere)
    with pytest.raises(Refused, match=f"{point.id} exists already"):
        backup_archive.unpack_archive(archive, elsewhere)


def test_what_is_damaged_is_not_carried_away(point: RestorePoint, tmp_path: Path) -> None:
    (point.folder / "database" / "dump").write_bytes(b"flipped")
    with pytest.raises(Refused, match="is damaged: database/dump has 7 bytes"):
        backup_archive.write_archive(point, tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()


def test_cut_anywhere_it_is_refused(archive: Path, elsewhere: Path) -> None:
    whole = archive.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for size in [0, 1, *range(BLOCK - 1, end, BLOCK), *range(BLOCK, end, BLOCK), end - 1]:
        archive.write_bytes(whole[:size])
        refused(archive, elsewhere)


def test_a_flipped_bit_anywhere_in_the_files_is_found(archive: Path, elsewhere: Path) -> None:
    whole = archive.read_bytes()
    begin = whole.index(b"dumped")
    for at in range(begin, begin + 700, 50):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        archive.write_bytes(flipped)
        assert "is damaged: database/dump" in refused(archive, elsewhere)


def test_a_flipped_bit_in_the_manifest_is_found(archive: Path, elsewhere: Path) -> None:
    archive.write_bytes(archive.read_bytes().replace(b"observations", b"observatiens", 1))
    assert "is not a restore point: its own checksum is wrong" in refused(archive, elsewhere)


def spoilt(point: RestorePoint, to: Path, *more: tarfile.TarInfo, drop: str = "") -> None:
    """Write an archive with other members than it should have."""
    with tarfile.open(to, "w") as tar:
        tar.add(point.folder / restore_point.MANIFEST, f"{point.id}/{restore_point.MANIFEST}")
        for name in point.files:
            if name != drop:
                tar.add(point.folder / name, f"{point.id}/{name}")
        for member in more:
            tar.addfile(member, io.BytesIO(b"x" * member.size))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return made


@pytest.mark.parametrize(
    "strange",
    [
        member("../../escaped"),
        member("/tmp/escaped"),  # noqa: S108 - what must not be written
        member("{id}/../../escaped"),
        member("{id}/database/more"),
        member("{id}/database/link", tarfile.SYMTYPE, "/etc"),
        member("{id}/database/hard", tarfile.LNKTYPE, "/etc/passwd"),
        member("{id}/database/dump", tarfile.SYMTYPE, "/etc/passwd"),
        member("{id}/database/pipe", tarfile.FIFOTYPE),
        member("{id}/database/dump"),
        member("{id}/manifest.json"),
    ],
    ids=lambda item: f"{item.name} {item.type.decode()}",
)
def test_nothing_is_unpacked_but_what_belongs_to_it(
    point: RestorePoint, tmp_path: Path, elsewhere: Path, strange: tarfile.TarInfo
) -> None:
    strange.name = strange.name.replace("{id}", point.id)
    spoilt(point, tmp_path / "x.tar", strange)
    assert "unexpected member in the archive" in refused(tmp_path / "x.tar", elsewhere)
    assert not [*tmp_path.rglob("escaped")]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_a_file_that_the_manifest_lists_has_to_be_a_plain_one(
    point: RestorePoint, tmp_path: Path, elsewhere: Path, kind: bytes
) -> None:
    other = member(f"{point.id}/database/dump", kind, f"{point.id}/manifest.json")
    spoilt(point, tmp_path / "x.tar", other, drop="database/dump")
    assert "unexpected member in the archive" in refused(tmp_path / "x.tar", elsewhere)


def sparse_header(name: str, size: int) -> bytes:
    """Write the header of GNU tar for a file of zeros, all of it a hole."""
    made = tarfile.TarInfo(name)
    made.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(made.tobuf(tarfile.GNU_FORMAT))
    header[386:482] = bytes(96)  # no part of it has content
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax_header(name: str, size: int) -> bytes:
    """Write the same as POSIX tar does."""
    made = tarfile.TarInfo(name)
    made.pax_headers = {"GNU.sparse.size": str(size), "GNU.sparse.map": f"{size},0"}
    return made.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("header", [sparse_header, pax_header])
def test_a_file_with_holes_is_refused_before_it_fills_the_disk(
    point: RestorePoint, tmp_path: Path, elsewhere: Path, header: Callable[[str, int], bytes]
) -> None:
    size = 3 * 10**9
    files = {**point.files, "database/dump": {"bytes": size, "sha256": "0" * 64}}
    restore_points.forge(point.folder, files=files)
    forged = tmp_path / "x.tar"
    spoilt(point, forged, drop="database/dump")
    content = forged.read_bytes().rstrip(b"\0")
    content += bytes(-len(content) % BLOCK) + header(f"{point.id}/database/dump", size)
    forged.write_bytes(content + bytes(2 * BLOCK))
    with tarfile.open(forged) as tar:  # it is what it is taken for
        assert [made.size for made in tar if made.issparse()] == [size]
    assert "unexpected member in the archive" in refused(forged, elsewhere)


def test_a_manifest_is_not_read_from_a_file_with_holes(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "x").write_bytes(sparse_header("x/manifest.json", 10**9) + bytes(2 * BLOCK))
    assert "is not a restore point" in refused(tmp_path / "x", elsewhere)


def test_a_size_that_is_not_the_manifests_is_refused_unread(
    point: RestorePoint, tmp_path: Path, elsewhere: Path
) -> None:
    other = member(f"{point.id}/database/dump")
    spoilt(point, tmp_path / "x.tar", other, drop="database/dump")
    said = f"{point.id}: database/dump has 1 bytes, the manifest says 700"
    assert refused(tmp_path / "x.tar", elsewhere) == said


def test_more_than_is_free_is_refused_before_a_byte_is_written(
    archive: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    monkeypatch.setattr("shutil.copyfileobj", lambda *_: pytest.fail("it was written"))
    said = refused(archive, elsewhere)
    assert said == f"No space left on the disk of {elsewhere}: 709 B needed, 100 B free"


def test_headers_before_headers_are_no_recursion(tmp_path: Path, elsewhere: Path) -> None:
    made = tarfile.TarInfo("././@LongLink")
    made.type, made.size = tarfile.GNUTYPE_LONGNAME, 2
    one = made.tobuf(tarfile.GNU_FORMAT) + b"x\0".ljust(BLOCK, b"\0")
    (tmp_path / "x").write_bytes(one * 5000)
    assert "is not a restore point" in refused(tmp_path / "x", elsewhere)


LATER = datetime.now(UTC) + timedelta(hours=3)


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ({"created_at": LATER.isoformat()}, "is from the future: made at"),
        ({"sequence": int(LATER.timestamp())}, "is from the future: made at 2026-11-01 02:00, seq"),
        ({"created_at": "9999-12-31T00:00:00+00:00"}, "its created_at cannot be true"),
        ({"sequence": 10**10}, "its sequence cannot be true"),
        ({"sequence": 10**30}, "it holds a number that is out of range"),
        ({"sequence": -1}, "its sequence cannot be true"),
        ({"sequence": True}, "its sequence cannot be true"),
        ({"kind": "\x1b[2J"}, "its kind cannot be true"),
        ({"profile": "../x"}, "its profile cannot be true"),
        ({"engine": ["local"]}, "its engine cannot be true"),
        ({"models": {"../../x": "tier1_v1.0_2026-11-22.onnx"}}, "its models cannot be true"),
        ({"models": {"tier1": "\x1b]0;x\x07"}}, "its models cannot be true"),
        ({"files": {"database/\x1b[2J": {"bytes": 1, "sha256": "0" * 64}}}, "outside of its"),
        ({"files": {"database/dump": {"bytes": -1, "sha256": "0" * 64}}}, "its files cannot be"),
        ({"files": {"database/dump": {"bytes": 1, "sha256": "x"}}}, "its files cannot be true"),
        ({"verified": {"at": "\x1b[2J", "how": ""}}, "Invalid isoformat"),
    ],
)
def test_a_manifest_that_cannot_be_true_is_refused(
    point: RestorePoint, tmp_path: Path, elsewhere: Path, forged: dict[str, Any], said: str
) -> None:
    restore_points.forge(point.folder, **forged)
    spoilt(point, tmp_path / "x.tar")
    assert said in refused(tmp_path / "x.tar", elsewhere)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"files":' * 100_000])
def test_a_manifest_nested_deeply_is_refused(
    point: RestorePoint, tmp_path: Path, elsewhere: Path, text: str
) -> None:
    (point.folder / restore_point.MANIFEST).write_text(text)
    spoilt(point, tmp_path / "x.tar")
    assert "it is nested too deeply" in refused(tmp_path / "x.tar", elsewhere)


def test_what_is_imported_counts_only_once_it_was_verified_here(
    archive: Path, point: RestorePoint, elsewhere: Path
) -> None:
    """A forged one cannot be told from a true one before that."""
    mine = restore_points.write(elsewhere, 0, restore_points.day(-20), kind="scheduled")
    made = backup_archive.unpack_archive(archive, elsewhere)
    assert (made.verified, made.good, made.imported) == (None, False, True)
    assert restore_point.latest_point(elsewhere, mine.series) == mine
    plan = catalog.plan_pruning(elsewhere, None, RetentionPolicy(daily=1))
    assert (plan.expired_points, plan.empty) == ([], True)
    proven = restore_point.mark_verified(made, "backup.verify")
    assert (proven.good, proven.imported) == (True, False)
    assert restore_point.latest_point(elsewhere, mine.series).id == point.id


def test_it_stays_until_somebody_has_verified_it(archive: Path, elsewhere: Path) -> None:
    made = backup_archive.unpack_archive(archive, elsewhere)
    mine = restore_points.write(elsewhere, 9, restore_points.day(9))
    plan = catalog.plan_pruning(elsewhere, None, RetentionPolicy(daily=1))
    assert plan.expired_points == []
    restore_point.mark_verified(made)  # it was tried, and is worth nothing
    plan = catalog.plan_pruning(elsewhere, None, RetentionPolicy(daily=1))
    assert ([point.id for point in plan.expired_points], mine.good) == ([made.id], True)


def test_a_file_that_lacks_is_named(point: RestorePoint, tmp_path: Path, elsewhere: Path) -> None:
    spoilt(point, tmp_path / "x.tar", drop="database/dump")
    assert "is damaged: database/dump" in refused(tmp_path / "x.tar", elsewhere)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 10240, json.dumps({}).encode()])
def test_another_file_is_no_restore_point(tmp_path: Path, elsewhere: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert "is not a restore point" in refused(tmp_path / "x", elsewhere)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, elsewhere: Path) -> None:
    assert "No such file" in refused(tmp_path / "x", elsewhere)


def test_a_copy_killed_before_is_replaced(
    archive: Path, point: RestorePoint, elsewhere: Path
) -> None:
    left = elsewhere / f".{point.id}.partial" / "database"
    left.mkdir(parents=True)
    (left / "dump").write_bytes(b"half")
    assert restore_point.damaged_files(backup_archive.unpack_archive(archive, elsewhere)) == []


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Leave room for a few bytes."""
    with promotions.own_disk(folder):
        promotions.need_own_disk(folder)
        with suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 2**20):
                pass
        yield


def test_a_full_disk_takes_nothing_of_it(
    archive: Path, point: RestorePoint, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with full_disk(disk):
        with pytest.raises(Refused, match="No space left"), change(tmp_path, "backup.import"):
            backup_archive.unpack_archive(archive, disk / "backups")
        with pytest.raises(Refused, match="No space left"), change(tmp_path, "backup.export"):
            backup_archive.write_archive(point, disk / "x.tar")
        assert {path.name for path in disk.rglob("*")} <= {"filler", "backups"}
