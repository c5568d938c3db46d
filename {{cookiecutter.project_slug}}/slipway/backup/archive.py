"""Restore points as single files: a tar of the folder, with the manifest first.

The tar is not compressed; the dump in it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tarfile
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from slipway.backup import restore_point
from slipway.backup.restore_point import RestorePoint
from slipway.core import files
from slipway.core.errors import Refused
from slipway.secret import age

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MANIFEST_LIMIT = 64 * 1024**2
"""Bytes that are read of what claims to be a manifest."""
BLOCK = 1024**2
OTHER = "use another copy"
UNREADABLE = (tarfile.TarError, ValueError, RecursionError)
"""What tarfile raises: a header before a header before a header is read recursively."""


def archive_name(id_: str, *, encrypted: bool) -> str:
    """Return the name of a restore point's file."""
    return f"{id_}.tar{age.SUFFIX if encrypted else ''}"


def write_archive(point: RestorePoint, to: Path, recipient: str = "") -> Path:
    """Write a restore point to one file, read it back, and only then give it its name.

    With a recipient, the file is encrypted and its name ends in .age.

    Raises:
        Refused: the point is damaged, the file exists, or reads back differently.
        OSError: the file cannot be written; nothing is left of it.
    """
    if to.is_dir():
        to /= archive_name(point.id, encrypted=bool(recipient))
    elif recipient and to.suffix != age.SUFFIX:
        to = to.with_name(to.name + age.SUFFIX)
    if to.exists():
        raise Refused(f"{to} exists already", "choose another name, or remove it", code=2)
    refuse_damaged_point(point)
    with files.replacing_file(to) as partial:
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            wanted = age.encrypt_blocks(archive_blocks(point), file, recipient)
            file.flush()
            os.fsync(file.fileno())
        if age.measure_blocks(age.file_blocks(partial)) != wanted:
            raise Refused(f"{to} reads back differently", "use another disk")
        if not recipient:
            check_archive(partial)
    return to


def refuse_damaged_point(point: RestorePoint) -> None:
    """Compare every file of a restore point with its manifest.

    Raises:
        Refused: a file is missing or has changed.
    """
    if wrong := restore_point.damaged_files(point):
        what = f"restore point {point.id} is damaged: {'; '.join(wrong[:3])}"
        raise Refused(what, "use another one: inv backup.list")


def archive_blocks(point: RestorePoint) -> Iterator[bytes]:
    """Yield the archive of a restore point, block by block.

    Raises:
        OSError: a file of the point cannot be read.
    """
    text = (point.folder / restore_point.MANIFEST).read_bytes()
    yield from _packed(_member(point, restore_point.MANIFEST, len(text)), BytesIO(text))
    for file, said in point.files.items():
        with (point.folder / file).open("rb") as content:
            yield from _packed(_member(point, file, said["bytes"]), content)
    yield bytes(2 * tarfile.BLOCKSIZE)  # the end of the archive


def _packed(member: tarfile.TarInfo, content: IO[bytes]) -> Iterator[bytes]:
    yield member.tobuf()
    left = member.size
    while left:
        block = content.read(min(BLOCK, left))
        if not block:
            raise OSError(errno.EIO, "it was truncated while it was read", member.name)
        left -= len(block)
        yield block
    yield bytes(-member.size % tarfile.BLOCKSIZE)


def _member(point: RestorePoint, name: str, size: int) -> tarfile.TarInfo:
    """Describe a file of the archive; whoever unpacks it owns it."""
    member = tarfile.TarInfo(f"{point.id}/{name}")
    member.size, member.mode, member.mtime = size, 0o600, int(point.created.timestamp())
    return member


def check_archive(path: Path) -> dict[str, Any]:
    """Compare every file of an archive with its manifest, and return the manifest.

    Raises:
        Refused: the file is not the archive of a restore point, or is damaged.
    """
    manifest = read_manifest(path)
    found = {}
    with _opened(path) as tar:
        for name, content in _contents(tar, manifest):
            found[name] = _digested(content)
    wanted = manifest["files"]
    if found != wanted:
        wrong = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        raise Refused(f"{path} is damaged: {', '.join(wrong[:3])}", OTHER)
    return manifest


def _digested(content: IO[bytes]) -> dict[str, Any]:
    digest = hashlib.sha256()
    while block := content.read(BLOCK):
        digest.update(block)
    return {"bytes": content.tell(), "sha256": digest.hexdigest()}


def read_manifest(path: Path) -> dict[str, Any]:
    """Read only the manifest of an archive.

    Raises:
        Refused: the file does not start with a manifest.
    """
    try:
        with tarfile.open(path, mode="r:") as tar:
            member = tar.next()
            file = tar.extractfile(member) if member and _plain(member) else None
            return restore_point.parse_manifest(file.read(MANIFEST_LIMIT) if file else b"")
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}", code=2) from error
    except UNREADABLE as error:
        raise Refused(f"{path} is not a restore point: {error}", OTHER, code=2) from error


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive.

    Raises:
        Refused: it proves to be damaged while it is read.
    """
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield tar
    except UNREADABLE as error:
        raise Refused(f"{path} is damaged: {error}", OTHER) from error


def _contents(tar: tarfile.TarFile, manifest: Mapping[str, Any]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the files of an archive, each with its name in the restore point.

    Raises:
        Refused: it holds something other than plain files that the manifest lists.
    """
    tar.next()  # the manifest
    seen = set()
    for member in iter(tar.next, None):
        name = member.name.removeprefix(f"{manifest['id']}/")
        # Only plain files that the manifest lists are ever read or unpacked.
        if not _plain(member) or name in seen or name not in manifest["files"]:
            what = f"{manifest['id']}: unexpected member in the archive: {member.name!r}"
            raise Refused(what, OTHER)
        if member.size != (wanted := manifest["files"][name]["bytes"]):
            what = f"{manifest['id']}: {name} has {member.size} bytes, the manifest says {wanted}"
            raise Refused(what, OTHER)
        seen.add(name)
        if content := tar.extractfile(member):
            yield name, content


def _plain(member: tarfile.TarInfo) -> bool:
    """Tell whether a member is a file that takes as much of the archive as it will of a disk."""
    return member.isreg() and not member.issparse()


def unpack_archive(path: Path, folder: Path) -> RestorePoint:
    """Unpack an archive into a restore point, checked before and after, but not verified here.

    Raises:
        Refused: the archive is damaged or from the future, the restore point exists already, or
            there is too little room.
        OSError: the disk is full or not writable; nothing is left of it.
    """
    manifest = check_archive(path)
    id_ = manifest["id"]
    if (folder / id_).exists():
        raise Refused(f"restore point {id_} exists already", f"inv backup.verify {id_}", code=2)
    point = RestorePoint(folder / id_, manifest)
    if restore_point.is_future(point):
        what = f"{id_} is from the future: made at {point.created:%Y-%m-%d %H:%M}, sequence "
        fix = "set this machine's clock right, or use another copy"
        raise Refused(f"{what}{point.sequence}", fix)
    folder.mkdir(mode=0o700, exist_ok=True)
    restore_point.refuse_scarce_disk(folder, point.size)
    partial = folder / f".{id_}.partial"
    restore_point.clear_partials([partial])
    try:
        _unpack(path, manifest, partial)
        return restore_point.publish_point(partial)
    except BaseException:
        restore_point.clear_partials([partial])
        raise


def _unpack(path: Path, manifest: Mapping[str, Any], partial: Path) -> None:
    partial.mkdir(mode=0o700)
    with _opened(path) as tar:
        for name, content in _contents(tar, manifest):
            to = partial / name
            to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with to.open("xb") as file:
                shutil.copyfileobj(content, file)
    for part in restore_point.PARTS:
        (partial / part).mkdir(mode=0o700, exist_ok=True)
    if dict(restore_point.measure_files(partial)) != manifest["files"]:
        raise Refused(f"{path} was unpacked with other content", "check the disk, then try again")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    restore_point.write_manifest(partial, {**manifest, "verified": None, "imported": now})
