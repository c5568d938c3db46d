"""The nightly backup: create and verify a restore point, copy it off-site, prune old ones."""

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
    """Run a nightly backup: a restore point, copies off-site of all that lack one, and pruning.

    Raises:
        Busy: another change is under way; nothing was done.
        Refused: there is no new restore point; the existing ones are untouched.
    """
    with change(setting.project.root, VERB, kind=KIND) as made:
        _drop_failed(setting)
        point = create.create_restore_point(setting, Steps(made, create.STEPS), database, KIND)
    # Whatever fails now, the restore point exists, and the next nightly backup makes up for it.
    for what, rest in (("copied off-site", copy_offsite), ("deleted", prune_nightly)):
        try:
            rest(setting, point)
        except Refused as error:
            output.say(f"NOT {what}: {error.what}")
        except (Exit, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 - of a library; the restore point is good
            output.say(f"NOT {what}: {type(error).__name__}: {error}")
    hooks.run_after(hooks.POST_BACKUP, made)
    return point


def _drop_failed(setting: BackupSource) -> None:
    """Delete the unverified points of earlier attempts except the last: they may fill the disk."""
    ours = [
        one
        for one in restore_point.list_points(setting.project.backups)
        if one.series == setting.series
    ]
    failed = [one for one in ours if one.kind == KIND and not (one.verified or one.imported)]
    for point in failed[:-1]:
        restore_point.remove_point(point)


def copy_offsite(setting: BackupSource, newest: RestorePoint) -> None:
    """Copy off-site every verified restore point of the same data that is not there yet.

    Raises:
        Refused: the storage rejects it, or BACKUP_URL cannot be used.
    """
    here = setting.project
    if not values.read_values(here, newest.profile).get("BACKUP_URL"):
        return
    with change(here.root, EXPORT, point=newest.id, to=copies.NAME) as made:
        away = copies.open_offsite(here, newest.profile, copies.NAME)
        there = {copy.id for copy in away.list_copies().copies if copy.good}
        ours = [
            one for one in restore_point.list_points(here.backups) if one.series == newest.series
        ]
        for point in ours:
            if point.good and point.kind != restore_point.SAFETY and point.id not in there:
                copy = away.upload(point)
                made.note(copied=[*made.facts.get("copied", []), point.id])
                output.say(f"Copied to {away.shown}: {copy.file}, {output.format_size(copy.size)}")


def prune_nightly(setting: BackupSource, newest: RestorePoint) -> None:
    """Delete the scheduled restore points that BACKUP_KEEP does not keep, here and off-site.

    Those made by hand, or by a restore before it changed anything, are deleted only by hand.

    Raises:
        Refused: the storage does not answer; nothing is deleted there.
    """
    here = setting.project
    wrong, away = "", None
    try:
        away = copies.configured_offsite(here, newest.profile)
    except Refused as error:  # prune here all the same, or the disk fills up
        wrong = error.what
    plan = catalog.plan_pruning(here.backups, away, configured_policy(here, newest.profile), KIND)
    if not plan.empty:
        with change(here.root, "backup.prune", **plan.facts):
            plan.apply()
        output.say(f"Deleted {plan.counts}.")
    if wrong := plan.wrong or wrong:
        raise Refused(f"off-site: {wrong}")


def configured_policy(here: Project, profile: str) -> RetentionPolicy:
    """Return the retention policy that BACKUP_KEEP sets.

    Raises:
        Refused: it cannot be parsed.
    """
    said = values.read_values(here, profile).get("BACKUP_KEEP")
    return retention.parse_policy(said) if said else RetentionPolicy()


def last_nightly_point(folder: Path, series: tuple[str, str]) -> datetime | None:
    """Return when the last usable scheduled restore point was made; None if there is none."""
    ours = [
        point
        for point in restore_point.list_points(folder)
        if point.series == series and point.good
    ]
    made = [point.created for point in ours if point.kind == KIND]
    return made[-1] if made else None


def last_offsite_copy(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the journal entry of the last copy off-site; None if there is none."""
    ours = [item for item in entries if item.get("verb") == EXPORT]
    return next((item for item in reversed(ours) if item.get("to") == copies.NAME), None)


def last_nightly_run(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the journal entry of the last nightly backup; None if there is none."""
    ours = [item for item in entries if (item.get("verb"), item.get("kind")) == (VERB, KIND)]
    return ours[-1] if ours else None


def describe_run(entry: dict[str, Any]) -> str:
    """Describe the outcome of a nightly backup."""
    when = str(entry["at"])[:16].replace("T", " ")
    what = entry.get("error") or entry.get("point") or ""
    return f"{when} UTC: {entry['outcome']}" + (f", {what}" if what else "")


def record_failure(root: Path, why: str) -> None:
    """Record a nightly backup that could not start."""
    journal.append(root, VERB, kind=KIND, outcome="failed", error=why)
