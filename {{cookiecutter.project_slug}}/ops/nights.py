"""What a night does: a restore point, proven; then those are deleted that are not to stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops import backups, journal, output, points, retention
from ops.changes import change
from ops.errors import Refused
from ops.retention import Policy
from ops.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from ops.backups import Setting
    from ops.databases import Database
    from ops.points import Point

VERB = "backup.create"
KIND = "scheduled"


def run(setting: Setting, database: Database) -> Point:
    """Make the restore point of a night, and then make room.

    Raises:
        Busy: another change is under way; nothing was done.
        Refused: it failed; what was there is there still.
    """
    root = setting.project.root
    with change(root, VERB, kind=KIND) as made:
        point = backups.create(setting, Steps(made, backups.STEPS), database, KIND)
    try:
        prune(root, setting.project.backups)
    except Refused as error:  # the restore point is there all the same; the next night tries again
        output.say(f"Nothing was deleted: {error.what}")
    return point


def prune(root: Path, folder: Path) -> None:
    """Delete what the default policy does not keep; never the newest verified one."""
    policy = Policy()
    known = points.known(folder)
    stay = retention.kept(known, policy)
    going = [point for point in known if point.id not in stay]
    if going:
        with change(root, "backup.prune", deleted=[point.id for point in going]):
            backups.delete(folder, going, policy)
        output.say(f"Deleted {len(going)} restore points.")


def newest(folder: Path, series: tuple[str, str]) -> datetime | None:
    """Return when the last good restore point was made by schedule; None where none was."""
    ours = [point for point in points.known(folder) if point.series == series and point.good]
    made = [point.created for point in ours if point.kind == KIND]
    return made[-1] if made else None


def last(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how the last night came out, as the journal has it."""
    ours = [item for item in entries if (item.get("verb"), item.get("kind")) == (VERB, KIND)]
    return ours[-1] if ours else None


def told(entry: dict[str, Any]) -> str:
    """Say how a night came out."""
    when = str(entry["at"])[:16].replace("T", " ")
    what = entry.get("error") or entry.get("point") or ""
    return f"{when} UTC: {entry['outcome']}" + (f", {what}" if what else "")


def lost(root: Path, why: str) -> None:
    """Record a night that could not even begin."""
    journal.append(root, VERB, kind=KIND, outcome="failed", error=why)
