from __future__ import annotations

import io
import json
import stat
import tarfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from slipway.backup import archive as backup_archive
from slipway.backup import restore_point
from slipway.core.errors import Refused
from slipway.core.transaction import change
from tests.support import promotions, restore_points

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    assert (made.id, made.manifest) == (point.id, point.manifest)
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
