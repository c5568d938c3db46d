"""Off-site copies of restore points: `<id>.tar` or `<id>.tar.age`, and then `<id>.json`.

The JSON file is written last and deleted first: without it there is no copy. It holds the few facts
that a list needs. A folder may be shared: the copies of other projects are ignored.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.backup import archive, restore_point
from slipway.backup.offsite import storage as offsite_storage
from slipway.config import values
from slipway.core import output
from slipway.core.errors import Refused
from slipway.core.files import parse_json
from slipway.secret import age as secret_age
from slipway.secret.age import MeasuredBlocks

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

    from slipway.backup.offsite.storage import Storage
    from slipway.backup.restore_point import RestorePoint
    from slipway.core.project import Project

NAME = "offsite"
"""Stands for BACKUP_URL as a destination."""
HOW_TO_SET = "set BACKUP_URL in the env file: services/api/recovery.md"
FACTS = re.compile(rf"(?P<id>{restore_point.ID.pattern})\.json")
ARCHIVE = re.compile(rf"(?P<id>{restore_point.ID.pattern})\.tar({re.escape(secret_age.SUFFIX)})?")
LEFTOVER_NAME = re.compile(
    rf"({ARCHIVE.pattern}|\.(?P<part>{restore_point.ID.pattern})\..*\.partial_name)"
)
FACTS_LIMIT = 64 * 1024
"""Bytes; a longer file was not written here."""


@dataclass(frozen=True)
class OffsiteCopy:
    """One off-site copy, as its facts describe it."""

    facts: Mapping[str, Any]
    stored: int
    """The size of its archive as stored; -1 if there is none."""

    @property
    def id(self) -> str:
        """The id of its restore point."""
        return str(self.facts["id"])

    @property
    def file(self) -> str:
        """The name of its archive."""
        return archive.archive_name(self.id, encrypted=self.encrypted)

    @property
    def encrypted(self) -> bool:
        """Tell whether the secret key is needed to open it."""
        return bool(self.facts["encrypted"])

    @property
    def sequence(self) -> int:
        """Its place in the order of all."""
        return int(self.facts["sequence"])

    @cached_property
    def created(self) -> datetime:
        """When its restore point was made."""
        return datetime.fromisoformat(self.facts["created_at"])

    @property
    def age(self) -> timedelta:
        """How old its restore point is."""
        return datetime.now(UTC) - self.created

    @property
    def kind(self) -> str:
        """The reason its restore point was made."""
        return str(self.facts["kind"])

    @property
    def series(self) -> tuple[str, str]:
        """The profile and engine of its data."""
        return (str(self.facts["profile"]), str(self.facts["engine"]))

    @property
    def size(self) -> int:
        """The size of its archive in bytes."""
        return int(self.facts["bytes"])

    @property
    def verified(self) -> Mapping[str, Any] | None:
        """When and how its restore point was verified before the upload."""
        return self.facts["verified"] or None

    @property
    def whole(self) -> bool:
        """Tell whether its archive has its full size."""
        return self.stored == self.size

    @property
    def good(self) -> bool:
        """Tell whether it is verified, has its full size, and is not from the future."""
        return bool(self.verified) and self.whole and not restore_point.is_future(self)

    @property
    def state(self) -> str:
        """When and how it was verified, or what is wrong with it, in words."""
        if restore_point.is_future(self):
            return "no: it is from the future"
        if not self.whole:
            return (
                "DAMAGED: its archive is truncated" if self.stored >= 0 else "DAMAGED: no archive"
            )
        return restore_point.format_verification(self.verified)


def _facts(text: bytes, id_: str) -> dict[str, Any]:
    """Parse the facts of a copy.

    Raises:
        ValueError: the text is not the facts of a copy.
    """
    said = parse_json(text)
    try:
        copy = OffsiteCopy(said, -1)
        restore_point.refuse_false_facts(said)
        restore_point.refuse_false(
            bytes=restore_point.is_count(said["bytes"]),
            sha256=restore_point.SHA256.fullmatch(said["sha256"]),
            encrypted=isinstance(said["encrypted"], bool),
            project=isinstance(said["project"], str),
        )
        if copy.id != id_:
            raise ValueError("its file has another name")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError("it does not describe a copy") from error
    return said


@dataclass(frozen=True)
class OffsiteListing:
    """The files in a storage."""

    copies: list[OffsiteCopy]
    """The copies of this project, in the order their restore points were made."""
    unusable: list[str]
    """Files that are named like a copy but cannot be used, and why."""
    other_files: list[str]
    """The names of all other files."""

    def leftovers(self, ours: Container[str]) -> list[str]:
        """Return what unfinished uploads of our restore points left.

        Files with facts, even of another project, do not count.
        """
        found = ((LEFTOVER_NAME.fullmatch(name), name) for name in self.other_files)
        named = ((said["id"], said["part"], name) for said, name in found if said)
        return [
            name
            for id_, part, name in named
            if part in ours or (id_ in ours and f"{id_}.json" not in self.other_files)
        ]


@dataclass(frozen=True)
class OffsiteFolder:
    """The off-site folder with the copies of a project."""

    storage: Storage
    project: str
    recipient: str = ""

    @property
    def shown(self) -> str:
        """Its URL without the password."""
        return self.storage.shown

    def list_copies(self) -> OffsiteListing:
        """List the copies of this project.

        Raises:
            Refused: the storage does not answer.
        """
        sizes = self.storage.sizes()
        found: list[OffsiteCopy] = []
        strange = []
        for name in sorted(sizes):
            try:
                found += self._read(name, sizes)
            except ValueError as error:
                strange.append(f"{name} in {self.shown} cannot be used: {error}")
        known = {copy.file for copy in found}
        ordered = sorted(found, key=lambda copy: (copy.sequence, copy.created))
        return OffsiteListing(ordered, strange, sorted(sizes.keys() - known))

    def _read(self, name: str, sizes: Mapping[str, int]) -> list[OffsiteCopy]:
        """Return the copy whose facts a file holds, if it is of this project.

        Raises:
            ValueError: the file is named like facts, but cannot be used.
        """
        named = FACTS.fullmatch(name)
        if not named:
            return []
        if not 0 < sizes[name] <= FACTS_LIMIT:
            raise ValueError(f"it has {sizes[name]} bytes")
        said = _facts(self.storage.read(name, FACTS_LIMIT), named["id"])
        file = archive.archive_name(named["id"], encrypted=bool(said["encrypted"]))
        return [OffsiteCopy(said, sizes.get(file, -1))] if said["project"] == self.project else []

    def find(self, id_: str) -> OffsiteCopy | None:
        """Return the copy of a restore point; None if there is none.

        Raises:
            Refused: the storage does not answer.
        """
        return next((copy for copy in self.list_copies().copies if copy.id == id_), None)

    def latest(self, series: tuple[str, str], *, but: str) -> OffsiteCopy | None:
        """Return the newest verified copy of a profile and engine, except of the kind `but`.

        Raises:
            Refused: the storage does not answer.
        """
        ours = [copy for copy in self.list_copies().copies if copy.series == series and copy.good]
        return next((copy for copy in reversed(ours) if copy.kind != but), None)

    def upload(self, point: RestorePoint) -> OffsiteCopy:
        """Upload a restore point, read it back, and only then write its facts.

        Raises:
            Refused: the point is damaged, or the storage rejects it or returns other bytes.
        """
        archive.refuse_damaged_point(point)
        name = archive.archive_name(point.id, encrypted=bool(self.recipient))
        part = self.storage.partial_name(name)
        with self.storage.writing(part, point.size) as file:
            wanted = secret_age.encrypt_blocks(archive.archive_blocks(point), file, self.recipient)
            if part == name:  # it may replace an archive, whose facts are then wrong
                self.storage.remove(f"{point.id}.json")
        if secret_age.measure_blocks(self.storage.blocks(part)) != wanted:
            self.storage.remove(part)
            what = f"{self.shown}/{part} reads back differently"
            raise Refused(what, "check the storage, then try again")
        facts = {
            "id": point.id,
            "project": self.project,
            "sequence": point.sequence,
            "created_at": point.created.isoformat(timespec="seconds"),
            "kind": point.kind,
            "profile": point.profile,
            "engine": point.engine,
            "bytes": wanted.bytes,
            "sha256": wanted.sha256,
            "encrypted": bool(self.recipient),
            "verified": point.verified,
        }
        self.storage.remove(f"{point.id}.json")  # an earlier one describes another archive
        self.storage.publish_file(name)
        self.storage.write(f"{point.id}.json", output.format_json(facts) + "\n")
        self._remove_other(point.id)
        return OffsiteCopy(facts, wanted.bytes)

    def _remove_other(self, id_: str) -> None:
        """Delete an earlier copy's archive that is encrypted if this is not, or vice versa."""
        other = archive.archive_name(id_, encrypted=not self.recipient)
        if other in self.storage.sizes():
            self.storage.remove(other)

    def fetch(self, copy: OffsiteCopy, to: Path, identity: Path | None) -> None:
        """Download the archive of a copy into a file, decrypted.

        Raises:
            Refused: it is damaged, or the secret key is missing or the wrong one.
        """
        what = f"{self.shown}/{copy.file}"
        if not copy.whole:
            said = f"{what} is damaged: it has {copy.stored} bytes instead of {copy.size}"
            if copy.stored < 0:
                said = f"{what} no longer exists"
            raise Refused(said, "use another one: inv backup.list")
        passing = MeasuredBlocks(self.storage.blocks(copy.file))
        receive_archive(passing, to, identity, what, copy.size)
        if (passing.measure.bytes, passing.measure.sha256) != (copy.size, copy.facts["sha256"]):
            raise Refused(f"{what} is damaged: its checksum differs", "inv backup.list")
        if (held := archive.read_manifest(to)["id"]) != copy.id:
            raise Refused(f"{what} is another restore point: {held}", "inv backup.list")

    def remove(self, copy: OffsiteCopy) -> None:
        """Delete a copy: its facts first, so that no half of it counts as one.

        Raises:
            Refused: the storage does not answer.
        """
        self.storage.remove(f"{copy.id}.json")
        self.storage.remove(copy.file)


def receive_archive(
    blocks: MeasuredBlocks, to: Path, identity: Path | None, what: str, size: int
) -> None:
    """Write blocks to a private file, decrypted; all of them are read.

    Raises:
        Refused: there is no room for `size` bytes, or there are more of them.
    """
    restore_point.refuse_scarce_disk(to.parent, size)
    passing = _at_most(blocks, size, what)
    with open(to, "xb", opener=_private) as file:
        secret_age.decrypt_blocks(passing, file, identity, what)
    for _ in passing:
        pass


def _at_most(blocks: MeasuredBlocks, size: int, what: str) -> Iterator[bytes]:
    for block in blocks:
        if blocks.count > size:
            raise Refused(f"{what} is damaged: it has more than {size} bytes", "inv backup.list")
        yield block


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def configured_offsite(project: Project, profile: str) -> OffsiteFolder | None:
    """Return the folder at BACKUP_URL, not connected yet; None if it is not set.

    Raises:
        Refused: one of its variables cannot be used.
    """
    held = values.read_values(project, profile)
    url, for_whom = held.get("BACKUP_URL", ""), backup_recipient(project, profile)
    options = offsite_storage.read_options(held.get("BACKUP_URL_OPTIONS", ""))
    return (
        OffsiteFolder(offsite_storage.open_storage(url, options), project.slug, for_whom)
        if url
        else None
    )


def backup_recipient(project: Project, profile: str) -> str:
    """Return the recipient that copies are encrypted for; empty if they are not encrypted.

    Raises:
        Refused: BACKUP_RECIPIENT is not a recipient of age.
    """
    name = "BACKUP_RECIPIENT"
    if said := values.read_values(project, profile).get(name, ""):
        secret_age.parse_recipient(said, name)
    return said


def open_offsite(project: Project, profile: str, url: str) -> OffsiteFolder:
    """Return the folder at a URL; NAME stands for BACKUP_URL.

    BACKUP_URL_OPTIONS apply only to the server of BACKUP_URL: no other is sent its password.

    Raises:
        Refused: the URL cannot be used, or BACKUP_URL is not set.
    """
    usual = configured_offsite(project, profile)
    if url == NAME:
        if not usual:
            raise Refused("BACKUP_URL is not set", HOW_TO_SET, code=2)
        return usual
    held = values.read_values(project, profile)
    options = offsite_storage.read_options(held.get("BACKUP_URL_OPTIONS", ""))
    if usual and _server(usual.storage.url) != _server(url):
        options = {}
    return OffsiteFolder(
        offsite_storage.open_storage(url, options), project.slug, backup_recipient(project, profile)
    )


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return (parts.scheme, parts.netloc.rpartition("@")[2])
