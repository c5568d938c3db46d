"""What a night does: a restore point is made, proven and copied off-site; then old ones go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from slipway.backup import catalog, create, restore_point, retention
from slipway.backup.offsite import copies
from slipway.backup.retention import RetentionPolicy
from slipway.config import values
from slipway.core import journal, output
from slipway.core.errors import Refused
from slipway.core.transaction import Steps, change
from slipway.stack import hooks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from slipway.backup.create import BackupSource
    from slipway.backup.databases.base import StackDatabase
    from slipway.backup.restore_point import RestorePoint
    from slipway.core.project import Project

VERB = "backup.create"
KIND = "scheduled"
EXPORT = "backup.export"


def run_nightly(setting: BackupSource, database: StackDatabase) -> RestorePoint:
    """Make the restore point of a night, copy off-site what is not there yet, and make room.

    Raises:
        Busy: another change is under way; nothing was done.
        Refused: it failed; what was there is there still.
    """
    with change(setting.project.root, VERB, kind=KIND) as made:
        _drop_failed(setting)
        point = create.create_restore_point(setting, Steps(made, create.STEPS), database, KIND)
    # Whatever fails now, the restore point is there, and the next night does what this one cannot.
    for what, rest in (("copied off-site", copy_offsite), ("deleted", prune_nightly)):
        try:
            rest(setting, point)
        except Refused as error:
            output.say(f"NOT {what}: {error.what}")
        except (Exit, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 - of a library; the night was a good one
            output.say(f"NOT {what}: {type(error).__name__}: {error}")
    hooks.run_after(hooks.POST_BACKUP, made)
    return point


def _drop_failed(setting: BackupSource) -> None:
    """Delete what earlier tries could not prove, but for the last: tries may fill the disk."""
    ours = [
        one
        for one in restore_point.list_points(setting.project.backups)
        if one.series == setting.series
    ]
    failed = [one for one in ours if one.kind == KIND and not one.verified]
    for point in failed[:-1]:
        restore_point.remove_point(point)


def copy_offsite(setting: BackupSource, newest: RestorePoint) -> None:
    """Copy off-site what is verified here and not there yet, of the same data as the newest point.

    Raises:
        Refused: the storage does not take it, or BACKUP_URL cannot be used.
    """
    here = setting.project
    if not values.held(here, newest.profile).get("BACKUP_URL"):
        return
    with change(here.root, EXPORT, point=newest.id, to=copies.NAME) as made:
        away = copies.open_offsite(here, newest.profile, copies.NAME)
        there = {copy.id for copy in away.looked().copies if copy.good}
        ours = [
            one for one in restore_point.list_points(here.backups) if one.series == newest.series
        ]
        for point in ours:
            if point.good and point.kind != restore_point.SAFETY and point.id not in there:
                copy = away.upload(point)
                made.note(copied=[*made.facts.get("copied", []), point.id])
                output.say(f"Copied to {away.shown}: {copy.file}, {output.format_size(copy.size)}")


def prune_nightly(setting: BackupSource, newest: RestorePoint) -> None:
    """Delete of what nights have made, here and off-site, what BACKUP_KEEP does not keep.

    What a person made, or a restore before it changed anything, goes when a person says so.

    Raises:
        Refused: the storage does not answer; what is there stays.
    """
    here = setting.project
    wrong, away = "", None
    try:
        away = copies.configured_offsite(here, newest.profile)
    except Refused as error:  # what is here goes all the same, or the disk fills up
        wrong = error.what
    plan = catalog.plan_pruning(here.backups, away, configured_policy(here, newest.profile), KIND)
    if not plan.empty:
        with change(here.root, "backup.prune", **plan.facts):
            plan.carry_out()
        output.say(f"Deleted {plan.counts}.")
    if wrong := plan.wrong or wrong:
        raise Refused(f"what is off-site: {wrong}")


def configured_policy(here: Project, profile: str) -> RetentionPolicy:
    """Return how many stay, as BACKUP_KEEP says.

    Raises:
        Refused: it says nothing of the kind.
    """
    said = values.held(here, profile).get("BACKUP_KEEP")
    return retention.parse_policy(said) if said else RetentionPolicy()


def last_nightly_point(folder: Path, series: tuple[str, str]) -> datetime | None:
    """Return when the last good restore point was made by schedule; None where none was."""
    ours = [
        point
        for point in restore_point.list_points(folder)
        if point.series == series and point.good
    ]
    made = [point.created for point in ours if point.kind == KIND]
    return made[-1] if made else None


def last_offsite_copy(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how copying off-site came out last; None where nothing ever was."""
    ours = [item for item in entries if item.get("verb") == EXPORT]
    return next((item for item in reversed(ours) if item.get("to") == copies.NAME), None)


def last_nightly_run(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how the last night came out, as the journal has it."""
    ours = [item for item in entries if (item.get("verb"), item.get("kind")) == (VERB, KIND)]
    return ours[-1] if ours else None


def describe_run(entry: dict[str, Any]) -> str:
    """Say how a night came out."""
    when = str(entry["at"])[:16].replace("T", " ")
    what = entry.get("error") or entry.get("point") or ""
    return f"{when} UTC: {entry['outcome']}" + (f", {what}" if what else "")


def record_failure(root: Path, why: str) -> None:
    """Record a night that could not even begin."""
    journal.append(root, VERB, kind=KIND, outcome="failed", error=why)
