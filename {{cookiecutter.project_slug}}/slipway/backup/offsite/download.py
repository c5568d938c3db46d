"""Restore points that come from elsewhere: a file, a URL, or a copy off-site."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.backup import archive, restore_point
from slipway.backup.offsite import copies, storage
from slipway.config.values import without_password
from slipway.core.errors import Refused
from slipway.core.transaction import change
from slipway.secret import age
from slipway.secret.age import MeasuredBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.backup.offsite.copies import OffsiteCopy, OffsiteFolder
    from slipway.backup.restore_point import RestorePoint
    from slipway.core.project import Project


def import_point(project: Project, profile: str, name: str, identity: str = "") -> RestorePoint:
    """Import a restore point from a file, a URL or an off-site copy.

    Raises:
        Refused: there is none, it is damaged, or it exists here already.
    """
    with change(project.root, "backup.import", file=printable_source(name)) as made:
        with fetch_archive(project, profile, name, identity) as file:
            point = archive.unpack_archive(file, project.backups)
        made.note(point=point.id)
    return point


def refuse_offsite_only(project: Project, profile: str, id_: str) -> None:
    """Check that a restore point is not only off-site.

    Raises:
        Refused: it is only off-site.
    """
    if (project.backups / id_).exists() or not restore_point.ID.fullmatch(id_):
        return
    away = copies.configured_offsite(project, profile)
    if away and away.find(id_):
        fix = f"inv backup.import {id_}, then inv backup.verify {id_}"
        raise Refused(f"restore point {id_} is only in {away.shown}", fix, code=2)


def is_file_or_url(name: str) -> bool:
    """Tell whether a name is a file or a URL, and not an id."""
    return storage.is_url(name) or Path(name).is_file()


def printable_source(name: str) -> str:
    """Return a file or URL without a password in it."""
    return without_password(name)


def identify_point(name: str) -> str:
    """Return the id of the restore point in a file or at a URL; empty if it cannot be told.

    Raises:
        Refused: the file is not a restore point.
    """
    if not storage.is_url(name) and not age.is_encrypted(Path(name)):
        return str(archive.read_manifest(Path(name))["id"])
    found = copies.ARCHIVE.fullmatch(name.rpartition("/")[2])
    return found["id"] if found else ""


@contextmanager
def fetch_archive(project: Project, profile: str, name: str, identity: str) -> Iterator[Path]:
    """Provide an archive as a local file, decrypted.

    Raises:
        Refused: there is none, it is damaged, or the secret key is missing or the wrong one.
    """
    key = age.identity_file(identity)
    path = Path(name)
    if path.is_file() and not age.is_encrypted(path):
        yield path
        return
    with restore_point.incoming_file(project.backups) as partial:
        if path.is_file():
            passing = MeasuredBlocks(age.file_blocks(path))
            copies.receive_archive(passing, partial, key, name, path.stat().st_size)
        elif storage.is_url(name):
            _from_url(project, profile, name, partial, key)
        else:
            away, copy = require_copy(project, profile, name)
            away.fetch(copy, partial, key)
        yield partial


def require_copy(project: Project, profile: str, id_: str) -> tuple[OffsiteFolder, OffsiteCopy]:
    """Return the off-site copy of a restore point, and its folder.

    Raises:
        Refused: there is none, or the storage does not answer.
    """
    away = copies.open_offsite(project, profile, copies.NAME)
    if copy := away.find(id_):
        return away, copy
    what = f"there is no file and no restore point {id_!r} here or in {away.shown}"
    raise Refused(what, "inv backup.list", code=2)


def _from_url(
    project: Project, profile: str, url: str, partial: Path, identity: Path | None
) -> None:
    """Download an archive; compare it with its facts if they are beside it."""
    folder, _, name = url.rpartition("/")
    named = copies.ARCHIVE.fullmatch(name)
    if not name.endswith((".tar", f".tar{age.SUFFIX}")):
        shown = printable_source(url)
        fix = f"BACKUP_URL={shown} inv backup.list; or the URL of a .tar or .tar.age file"
        raise Refused(f"{shown} is not the file of a restore point", fix, code=2)
    away = copies.open_offsite(project, profile, folder)
    sizes = away.storage.sizes()
    if named and f"{named['id']}.json" in sizes:
        for copy in away.list_copies().copies:
            if copy.file == name:
                away.fetch(copy, partial, identity)
                return
    if name not in sizes:
        raise Refused(f"there is no {printable_source(url)}", "inv backup.list", code=2)
    passing = MeasuredBlocks(away.storage.blocks(name))
    copies.receive_archive(passing, partial, identity, printable_source(url), sizes[name])
