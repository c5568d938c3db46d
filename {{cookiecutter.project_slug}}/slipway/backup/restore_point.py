"""Restore points: a database and the models as they were at one time, each in its own folder.

`backups/<id>/` holds `database/`, `models/` and, written last, `manifest.json`, which lists every
file with its checksum. A restore point is made as `backups/.<id>.partial` and then renamed, so one
that has its name is complete. A clock may be set back: the `sequence` in the manifest is the order.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from slipway.backup.databases.base import DatabaseContent
from slipway.config.schema import ENGINES, PROFILES
from slipway.core import files, output
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slipway.backup.offsite.copies import OffsiteCopy

MANIFEST = "manifest.json"
PARTS = ("database", "models")
SAFETY = "safety"
"""The kind that a restore makes of the live data before it changes anything."""
KINDS = ("manual", "scheduled", SAFETY)
ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")
PARTIAL = re.compile(rf"\.({ID.pattern}|fetched-[0-9a-f]+)\.partial")
LATEST = "latest"
NOT_IN_CHECKSUM = ("sha256", "verified", "imported")
"""Not covered by the checksum of the manifest: the checksum itself, and what is added later."""
CREATE_COMMAND = "inv backup.create"
CLOCK_SKEW = timedelta(hours=1)
"""How much later another machine's clock may be."""
LAST = datetime(2200, 1, 1, tzinfo=UTC)
"""Later, no time and no sequence is true, whatever the clock says."""
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[^\W_][\w.+-]*")
"""A tier, or a file of a model: neither leads out of its folder."""
MIGRATION = re.compile(r"([^\W_][\w.,-]*)?")


@dataclass(frozen=True)
class RestorePoint:
    """One restore point, as its manifest describes it."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.manifest["id"])

    @property
    def sequence(self) -> int:
        """Its place in the order of all points, independent of the clock."""
        return int(self.manifest["sequence"])

    @cached_property
    def created(self) -> datetime:
        """When it was made, by the clock of that time."""
        return datetime.fromisoformat(self.manifest["created_at"])

    @property
    def age(self) -> timedelta:
        """How old it is; negative if the clock was set back since."""
        return datetime.now(UTC) - self.created

    @property
    def kind(self) -> str:
        """The reason it was made: one of KINDS."""
        return str(self.manifest["kind"])

    @property
    def profile(self) -> str:
        """The profile of its data."""
        return str(self.manifest["profile"])

    @property
    def engine(self) -> str:
        """The engine of its data."""
        return str(self.manifest["engine"])

    @property
    def series(self) -> tuple[str, str]:
        """The profile and engine of its data."""
        return (self.profile, self.engine)

    @property
    def models(self) -> dict[str, str]:
        """The file that each tier served."""
        return dict(self.manifest["models"])

    @property
    def verified(self) -> dict[str, Any] | None:
        """When and how it was verified; None if it was not."""
        said = self.manifest["verified"]
        return dict(said) if said else None

    @property
    def imported(self) -> bool:
        """Tell whether it comes from elsewhere, and was not verified here yet."""
        return bool(self.manifest.get("imported")) and not self.verified

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """The size and checksum of each file, by its path in the folder."""
        return dict(self.manifest["files"])

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(said["bytes"] for said in self.files.values())

    @property
    def database(self) -> Path:
        """The folder of its dump."""
        return self.folder / "database"

    @property
    def database_kind(self) -> str:
        """The kind of database it can be restored into."""
        return str(self.manifest["database"]["kind"])

    @cached_property
    def content(self) -> DatabaseContent:
        """The content of its database."""
        return DatabaseContent.read(self.manifest["database"])

    @property
    def good(self) -> bool:
        """Tell whether it is verified, and every file still has its size."""
        return bool(self.verified) and not self.missing

    @property
    def state(self) -> str:
        """When and how it was verified, or what is wrong with it, in words."""
        if self.missing:
            return f"DAMAGED: {len(self.missing)} files"
        return format_verification(self.verified)

    @property
    def summary(self) -> str:
        """What it holds, in words."""
        models = ", ".join(file.rpartition("_")[0] for file in self.models.values())
        return "; ".join(filter(None, [f"{self.database_kind}: {self.content.summary}", models]))

    @property
    def missing(self) -> list[str]:
        """The files that are missing or have another size; none is read."""
        return [
            name for name, said in self.files.items() if _size(self.folder / name) != said["bytes"]
        ]


def format_verification(verified: Mapping[str, Any] | None) -> str:
    """Write when and how something was verified."""
    return f"{verified['at'][:16].replace('T', ' ')} {verified['how']}" if verified else "no"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def list_points(folder: Path) -> list[RestorePoint]:
    """Return every restore point with an intact manifest, in the order they were made."""
    found = (_read(path) for path in _folders(folder))
    return sorted(
        (point for point in found if isinstance(point, RestorePoint)),
        key=lambda point: (point.sequence, point.created),
    )


def unreadable_points(folder: Path) -> list[tuple[str, str]]:
    """Return the folders that are named like a restore point but cannot be used, and why."""
    found = ((path.name, _read(path)) for path in _folders(folder))
    return [(name, said) for name, said in found if isinstance(said, str)]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if ID.fullmatch(path.name))


def _read(folder: Path) -> RestorePoint | str:
    """Return a restore point, or what is wrong with it."""
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read: {getattr(error, 'strerror', None) or error}"
    return (
        RestorePoint(folder, manifest)
        if manifest["id"] == folder.name
        else "its folder has another name"
    )


def parse_manifest(text: bytes) -> dict[str, Any]:
    """Parse a manifest.

    Raises:
        ValueError: it is not a manifest, was changed, or names a path outside of its folder.
    """
    try:
        said = files.parse_json(text)
        if said["sha256"] != manifest_checksum(said):
            raise ValueError("its own checksum is wrong")
        if not all(map(_inside, said["files"])):
            raise ValueError("it names a path outside of its folder")
        refuse_false_facts(said)
        content = DatabaseContent.read(said["database"])
        refuse_false(
            files=all(is_count(one["bytes"]) for one in said["files"].values())
            and all(SHA256.fullmatch(one["sha256"]) for one in said["files"].values()),
            models=all(NAME.fullmatch(name) for pair in said["models"].items() for name in pair),
            database=isinstance(said["database"]["kind"], str)
            and MIGRATION.fullmatch(content.migration),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError("it is not the manifest of a restore point") from error
    return said


def refuse_false_facts(said: Mapping[str, Any]) -> None:
    """Check what a manifest and the facts of a copy have in common.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it cannot be true.
    """
    at, verified = datetime.fromisoformat(said["created_at"]), said["verified"]
    refuse_false(
        id=ID.fullmatch(said["id"]),
        kind=said["kind"] in KINDS,
        profile=said["profile"] in PROFILES,
        engine=said["engine"] in ENGINES,
        sequence=is_count(said["sequence"]) and said["sequence"] < LAST.timestamp(),
        created_at=at.tzinfo and at < LAST,
        verified=verified is None
        or (datetime.fromisoformat(verified["at"]) and isinstance(verified["how"], str)),
    )


def refuse_false(**true: object) -> None:
    """Raise ValueError with the name of the first fact that is not true."""
    for name, sure in true.items():
        if not sure:
            raise ValueError(f"its {name} cannot be true")


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number from 0 on; JSON's true is none."""
    return type(value) is int and value >= 0


def is_future(item: RestorePoint | OffsiteCopy) -> bool:
    """Tell whether a point claims to be made later than now, which would make it the newest."""
    now = datetime.now(UTC) + CLOCK_SKEW
    return item.created > now or item.sequence > now.timestamp()


def refuse_scarce_disk(folder: Path, size: int) -> None:
    """Check that a disk has room for so many bytes.

    Raises:
        Refused: it has less.
    """
    if (free := shutil.disk_usage(folder).free) < size:
        needed = f"{output.format_size(size)} needed, {output.format_size(free)} free"
        raise Refused(f"No space left on the disk of {folder}: {needed}", "free some space")


def _inside(name: str) -> bool:
    """Tell whether a path stays in the folder of a restore point."""
    path = PurePosixPath(name)
    inside = path.parts[0] in PARTS and len(path.parts) > 1 and ".." not in path.parts
    return inside and name.isprintable()


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """Return the checksum of a manifest's content."""
    content = {name: value for name, value in manifest.items() if name not in NOT_IN_CHECKSUM}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def find_point(folder: Path, name: str) -> RestorePoint:
    """Return the restore point with an id.

    Raises:
        Refused: there is none; the message names the newest ones.
    """
    there = list_points(folder)
    for point in there:
        if point.id == name:
            return point
    if wrong := dict(unreadable_points(folder)).get(name):
        raise Refused(f"restore point {name} cannot be used: {wrong}", "inv backup.list", code=2)
    newest = ", ".join(point.id for point in there[-3:]) or "none"
    what = f"there is no restore point {name!r}; the newest are: {newest}"
    raise Refused(what, "inv backup.list" if there else CREATE_COMMAND, code=2)


def newest_point(folder: Path, series: tuple[str, str] | None) -> RestorePoint | None:
    """Return the newest usable restore point of a profile and engine, or of any; None if none.

    Safety points are passed over: they may hold what went wrong.
    """
    ours = [point for point in list_points(folder) if series in (None, point.series) and point.good]
    return next((point for point in reversed(ours) if point.kind != SAFETY), None)


def latest_point(folder: Path, series: tuple[str, str]) -> RestorePoint:
    """Return the newest usable restore point of a profile and engine.

    Raises:
        Refused: there is none.
    """
    found = newest_point(folder, series)
    if not found:
        profile, engine = series
        what = f"there is no verified restore point of profile {profile} on engine {engine}"
        raise Refused(what, f"{CREATE_COMMAND}; or choose one: inv backup.list", code=2)
    return found


def begin_point(folder: Path) -> tuple[Path, datetime]:
    """Make the partial folder of a new restore point; return it with the time."""
    folder.mkdir(mode=0o700, exist_ok=True)  # as private as the database
    now = datetime.now(UTC)
    while True:
        id_ = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        if not (folder / id_).exists():
            break
    partial = folder / f".{id_}.partial"
    for path in (partial, *(partial / part for part in PARTS)):
        path.mkdir(mode=0o700)
    return partial, now


def partial_id(partial: Path) -> str:
    """Return the id that a partial folder will have."""
    return partial.name.removeprefix(".").removesuffix(".partial")


def next_sequence(folder: Path) -> int:
    """Return the sequence number of the next restore point.

    It is the number of seconds since 1970: on the machine that replaces a lost one, new points are
    newer than those imported from the old one. It is always higher than that of any point here,
    even if the clock was set back.
    """
    return max(
        max((point.sequence for point in list_points(folder)), default=0) + 1, int(time.time())
    )


def finish_point(partial: Path, facts: Mapping[str, Any]) -> RestorePoint:
    """Flush every file to the disk, write the manifest, and give the folder its name.

    Raises:
        OSError: the disk is full or not writable; the folder keeps its partial name.
    """
    manifest = {
        "id": partial_id(partial),
        **facts,
        "files": dict(measure_files(partial)),
        "verified": None,
    }
    write_manifest(partial, manifest)
    return publish_point(partial)


def measure_files(partial: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Flush each file to the disk, and yield its size and checksum."""
    for path in sorted(partial.rglob("*")):
        if path.is_dir():
            files.flush_to_disk(path)
        elif path.parent != partial:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = os.fstat(file.fileno()).st_size
            yield path.relative_to(partial).as_posix(), {"bytes": size, "sha256": digest}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest with its checksum, replacing an earlier one."""
    text = json.dumps({**manifest, "sha256": manifest_checksum(manifest)}, indent=2)
    files.replace_file(folder / MANIFEST, text + "\n")
    files.give_to_owner(folder / MANIFEST)


def publish_point(partial: Path) -> RestorePoint:
    """Give a complete folder its name, and return the restore point."""
    folder = partial.with_name(partial_id(partial))
    files.give_to_owner(partial)
    partial.rename(folder)
    files.flush_to_disk(folder.parent)
    return find_point(folder.parent, folder.name)


def mark_verified(point: RestorePoint, how: str = "", seconds: float = 0.0) -> RestorePoint:
    """Record in the manifest how a restore point was verified; without `how`, that it is not."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    said = {"at": at, "how": how, "seconds": round(seconds, 1)} if how else None
    manifest = {**point.manifest, "verified": said}
    manifest.pop("imported", None)
    write_manifest(point.folder, manifest)
    return RestorePoint(point.folder, manifest)


def damaged_files(point: RestorePoint) -> list[str]:
    """Compare every file with the manifest; return what differs."""
    return [
        wrong
        for name, said in point.files.items()
        if (wrong := _damage(point.folder / name, name, said))
    ]


def _damage(path: Path, name: str, said: Mapping[str, Any]) -> str:
    size = _size(path)
    if size < 0:
        return f"{name} is missing"
    if size != said["bytes"]:
        return f"{name} has {size} bytes, the manifest says {said['bytes']}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != said["sha256"]:
        return f"{name}: sha256 is {digest[:12]}..., the manifest says {said['sha256'][:12]}..."
    return ""


def remove_point(point: RestorePoint) -> None:
    """Delete a restore point: renamed first, so that no half of it counts as one."""
    partial = point.folder.with_name(f".{point.id}.partial")
    point.folder.rename(partial)
    files.flush_to_disk(partial.parent)
    shutil.rmtree(partial)


def list_partials(folder: Path) -> list[Path]:
    """Return what killed processes left while making or deleting restore points.

    The caller holds the lock of changes, so nobody is working on these.
    """
    return sorted(path for path in folder.glob(".*") if PARTIAL.fullmatch(path.name))


def clear_partials(partial: Iterable[Path]) -> None:
    """Delete leftovers; what cannot be deleted is left for the next time."""
    for path in partial:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


@contextmanager
def incoming_file(folder: Path) -> Iterator[Path]:
    """Provide a path for a downloaded file, and delete it afterwards."""
    folder.mkdir(mode=0o700, exist_ok=True)
    partial = folder / f".fetched-{secrets.token_hex(4)}.partial"
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
