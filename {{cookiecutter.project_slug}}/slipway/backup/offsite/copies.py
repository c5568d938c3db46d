"""Copies of restore points elsewhere: `<id>.tar` or `<id>.tar.age`, and then `<id>.json`.

The JSON file is written last and deleted first: without it there is no copy. It tells few facts, so
that a list needs nothing else. A folder may be shared: what is of another project is passed over.
"""

from __future__ import annotations

import json
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
from slipway.secret import age as secret_age
from slipway.secret.age import MeasuredBlocks

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from slipway.backup.offsite.storage import Storage
    from slipway.backup.restore_point import RestorePoint
    from slipway.core.project import Project

NAME = "offsite"
"""What stands for BACKUP_URL, where one says where to."""
HOW_TO_SET = "set BACKUP_URL in the env file: docs/recovery.md"
FACTS = re.compile(rf"(?P<id>{restore_point.ID.pattern})\.json")
ARCHIVE = re.compile(rf"(?P<id>{restore_point.ID.pattern})\.tar({re.escape(secret_age.SUFFIX)})?")
LEFTOVER_NAME = re.compile(
    rf"({ARCHIVE.pattern}|\.(?P<part>{restore_point.ID.pattern})\..*\.partial_name)"
)
FACTS_LIMIT = 64 * 1024
"""Bytes; a longer file is none of ours."""


@dataclass(frozen=True)
class OffsiteCopy:
    """One copy, as its facts describe it."""

    facts: Mapping[str, Any]
    stored: int
    """Bytes that are there under its name; -1 if nothing is."""

    @property
    def id(self) -> str:
        """The restore point that it is of."""
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
        """What orders it among others."""
        return int(self.facts["sequence"])

    @cached_property
    def created(self) -> datetime:
        """When its restore point was made."""
        return datetime.fromisoformat(self.facts["created_at"])

    @property
    def age(self) -> timedelta:
        """How old that is."""
        return datetime.now(UTC) - self.created

    @property
    def kind(self) -> str:
        """Why it was made."""
        return str(self.facts["kind"])

    @property
    def series(self) -> tuple[str, str]:
        """Whose data it holds."""
        return (str(self.facts["profile"]), str(self.facts["engine"]))

    @property
    def size(self) -> int:
        """Bytes of its archive."""
        return int(self.facts["bytes"])

    @property
    def verified(self) -> Mapping[str, Any] | None:
        """When and how it was proven, before it was carried away."""
        return self.facts["verified"] or None

    @property
    def whole(self) -> bool:
        """Tell whether its archive is there in its length."""
        return self.stored == self.size

    @property
    def good(self) -> bool:
        """Tell whether it was proven, and is still there in its length."""
        return bool(self.verified) and self.whole

    @property
    def state(self) -> str:
        """Say when and how it was verified."""
        if not self.whole:
            return "DAMAGED: its archive is cut" if self.stored >= 0 else "DAMAGED: no archive"
        return restore_point.format_verification(self.verified)


def _facts(text: bytes, id_: str) -> dict[str, Any]:
    """Read the facts of a copy.

    Raises:
        ValueError: they are none.
    """
    said: dict[str, Any] = json.loads(text)
    try:
        copy = OffsiteCopy(said, -1)
        _ = (copy.encrypted, copy.sequence, copy.age, copy.kind, copy.series, copy.size, copy.state)
        _ = (said["sha256"], said["project"], restore_point.format_verification(copy.verified))
        if copy.id != id_:
            raise ValueError("its file has another name")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError("it holds no facts of a copy") from error
    return said


@dataclass(frozen=True)
class OffsiteListing:
    """What a storage has."""

    copies: list[OffsiteCopy]
    """Those of this project, in the order their restore points were made."""
    unusable: list[str]
    """What has the name of a copy and cannot be used, and why."""
    other_files: list[str]
    """The names of all other files."""

    def leftovers(self, ours: Container[str]) -> list[str]:
        """Name what was left by uploads of our restore points that did not come to their end.

        What has facts, even of a project of another name, is none.
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
    """The folder that the copies of a project lie in."""

    storage: Storage
    project: str
    recipient: str = ""

    @property
    def shown(self) -> str:
        """Its URL as it may be printed."""
        return self.storage.shown

    def list_copies(self) -> OffsiteListing:
        """Return what of this project is there.

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
        """Return the copy whose facts that file holds, if it is one of this project.

        Raises:
            ValueError: it has the name of one, and cannot be used.
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
        """Return the copy of that restore point; None where there is none.

        Raises:
            Refused: the storage does not answer.
        """
        return next((copy for copy in self.list_copies().copies if copy.id == id_), None)

    def latest(self, series: tuple[str, str], *, but: str) -> OffsiteCopy | None:
        """Return the newest verified copy of such data that is not of the kind `but`.

        Raises:
            Refused: the storage does not answer.
        """
        ours = [copy for copy in self.list_copies().copies if copy.series == series and copy.good]
        return next((copy for copy in reversed(ours) if copy.kind != but), None)

    def upload(self, point: RestorePoint) -> OffsiteCopy:
        """Write a restore point there, read it again, and only then write its facts.

        Raises:
            Refused: the point is damaged, the storage does not take it, or gives other bytes back.
        """
        archive.refuse_damaged_point(point)
        name = archive.archive_name(point.id, encrypted=bool(self.recipient))
        part = self.storage.partial_name(name)
        with self.storage.writing(part, point.size) as file:
            wanted = secret_age.encrypt_blocks(archive.archive_blocks(point), file, self.recipient)
            if part == name:  # at the end of this it replaces one, of which the facts are not its
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
        self.storage.remove(f"{point.id}.json")  # an earlier one is not of this archive
        self.storage.publish_file(name)
        self.storage.write(f"{point.id}.json", output.format_json(facts) + "\n")
        self._remove_other(point.id)
        return OffsiteCopy(facts, wanted.bytes)

    def _remove_other(self, id_: str) -> None:
        """Delete the archive of an earlier copy that was, or was not, encrypted."""
        other = archive.archive_name(id_, encrypted=not self.recipient)
        if other in self.storage.sizes():
            self.storage.remove(other)

    def fetch(self, copy: OffsiteCopy, to: Path, identity: Path | None) -> None:
        """Write the archive of a copy into a file here, decrypted.

        Raises:
            Refused: it is damaged, or the secret key is missing or another one.
        """
        what = f"{self.shown}/{copy.file}"
        if not copy.whole:
            said = f"{what} is damaged: it has {copy.stored} bytes, and should have {copy.size}"
            if copy.stored < 0:
                said = f"{what} is not there any more"
            raise Refused(said, "use another one: inv backup.list")
        passing = MeasuredBlocks(self.storage.blocks(copy.file))
        receive_archive(passing, to, identity, what)
        if (passing.measure.bytes, passing.measure.sha256) != (copy.size, copy.facts["sha256"]):
            raise Refused(f"{what} is damaged: its checksum is another", "inv backup.list")
        if (held := archive.read_manifest(to)["id"]) != copy.id:
            raise Refused(f"{what} is another restore point: {held}", "inv backup.list")

    def remove(self, copy: OffsiteCopy) -> None:
        """Delete a copy: its facts first, so that it is gone at once or not at all.

        Raises:
            Refused: the storage does not answer.
        """
        self.storage.remove(f"{copy.id}.json")
        self.storage.remove(copy.file)


def receive_archive(blocks: MeasuredBlocks, to: Path, identity: Path | None, what: str) -> None:
    """Write what comes into a private file, decrypted; all that comes is read."""
    with open(to, "xb", opener=_private) as file:
        secret_age.decrypt_blocks(blocks, file, identity, what)
    for _ in blocks:
        pass


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def configured_offsite(project: Project, profile: str) -> OffsiteFolder | None:
    """Return where BACKUP_URL leads to; None where it is not set. Nothing is asked of it yet.

    Raises:
        Refused: a variable of it cannot be used.
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
    """Return for whom what is carried away is encrypted; nothing, where it is not.

    Raises:
        Refused: it is no recipient of age.
    """
    said = values.read_values(project, profile).get("BACKUP_RECIPIENT", "")
    secret_age.refuse_bad_recipient(said)
    return said


def open_offsite(project: Project, profile: str, url: str) -> OffsiteFolder:
    """Return what a URL leads to; for NAME it is BACKUP_URL.

    The options are those of BACKUP_URL where it is of the same server: no other gets its password.

    Raises:
        Refused: it is no URL that can be used, or BACKUP_URL is not set.
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
