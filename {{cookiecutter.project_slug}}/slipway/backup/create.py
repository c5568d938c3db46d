"""Backups: creating a restore point, and verifying it.

A restore point is verified by restoring it into a scratch database and comparing the result with
the dumped snapshot. Until then it does not count.
"""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from slipway.backup import archive, restore_point
from slipway.backup.databases import base
from slipway.core import journal, output
from slipway.core.errors import Refused
from slipway.core.transaction import Steps, uninterrupted, write_failure
from slipway.models import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipway.backup.databases.base import DatabaseContent, StackDatabase
    from slipway.backup.offsite.copies import OffsiteFolder
    from slipway.backup.restore_point import RestorePoint
    from slipway.core.project import Project
    from slipway.core.transaction import Change

OFFSITE = "offsite"
STEPS = ("database", "models", "manifest", "proof", OFFSITE)
PROOF = ("files", "proof")
AT_ONCE = "when it was made"
LATER = "backup.verify"
FULL = 1_000_000
"""Bytes; with less free space, a full disk is taken for the cause of a failed dump."""
SHOWN = 3
"""How many differences a message names."""


class BackupSource(Protocol):
    """What is backed up: the stack of a session, or the stack that this container belongs to."""

    @property
    def project(self) -> Project:
        """The repository."""

    @property
    def series(self) -> tuple[str, str]:
        """The profile and engine of the data."""

    def describe_provenance(self) -> dict[str, Any]:
        """Describe the images, the code and the variables that the data is used with."""


def create_restore_point(  # noqa: PLR0913 - a source, a destination, and how
    setting: BackupSource,
    steps: Steps,
    database: StackDatabase,
    kind: str,
    *,
    prove: bool = True,
    away: OffsiteFolder | None = None,
) -> RestorePoint:
    """Create a restore point, verify it, and upload a copy to `away`; the steps are STEPS.

    Raises:
        StepFailed: a step failed. After a failed proof the restore point exists, not verified;
            after a failed upload it exists, verified; otherwise there is none.
    """
    folder = setting.project.backups
    restore_point.clear_partials(restore_point.list_partials(folder))  # they may fill the disk
    with _awake(database):
        point = _made(setting, steps, database, kind)
        restore_point.clear_partials(
            restore_point.list_partials(folder)
        )  # of a dump that outlived its caller
        steps.change.note(point=point.id)
        if prove:
            point = _proven(steps, database, point, AT_ONCE)
    if not prove:
        steps.skip("proof", f"--no-verify; later: inv backup.verify {point.id}")
    if away and prove:
        _carried(steps, point, away)
    elif away:
        steps.skip(OFFSITE, "only verified restore points are copied")
    return point


def _carried(steps: Steps, point: RestorePoint, away: OffsiteFolder) -> None:
    """Upload a restore point; a failure does not affect the one here."""
    with steps.run(OFFSITE, f"uploading to {away.shown}") as step:
        try:
            copy = away.upload(point)
        except (Refused, OSError) as error:
            refused = error if isinstance(error, Refused) else write_failure(error)
            what = f"{refused.what}\n  {point.id} itself is verified"
            raise Refused(what, f"inv backup.export {point.id} --to {OFFSITE}") from None
        step.detail = f"{copy.file}, {output.format_size(copy.size)}, read back, in {away.shown}"


@contextmanager
def _awake(database: StackDatabase) -> Iterator[None]:
    """Keep the server running; stop it again afterwards if it was not.

    Raises:
        Refused: the server cannot be started.
    """
    started = database.start(base.START_LIMIT)
    if started:
        output.say("  The database is not running: it is started for this.")
    try:
        yield
    finally:
        if started:
            with uninterrupted():
                database.stop()


def _made(setting: BackupSource, steps: Steps, database: StackDatabase, kind: str) -> RestorePoint:
    """Make steps 1 to 3."""
    start = time.monotonic()
    partial, at = restore_point.begin_point(setting.project.backups)
    try:
        with steps.run("database", "dumping it") as step:
            content = _dumped(database, partial / "database")
            size = output.format_size(_bytes(partial / "database"))
            step.detail = f"{content.summary}, as {size}"
        with steps.run("models") as step:
            copied, broken = _copied(setting.project.models, partial / "models")
            left = (f"LEFT OUT {tier}: {why}" for tier, why in broken.items())
            step.detail = "; ".join([", ".join(copied.values()) or "none", *left])
        with steps.run("manifest", "taking every checksum") as step:
            facts = {
                "sequence": restore_point.next_sequence(setting.project.backups),
                "created_at": at.isoformat(timespec="seconds"),
                "kind": kind,
                "database": {"kind": database.kind, **content.as_dict()},
                "models": copied,
                **setting.describe_provenance(),
                "journal": {"entries": len(journal.entries(setting.project.root))},
                "seconds": round(time.monotonic() - start, 1),
            }
            point = restore_point.finish_point(partial, facts)
            step.detail = (
                f"{len(point.files)} files, {output.format_size(point.size)}, in {point.folder}"
            )
    except BaseException:
        with uninterrupted():
            restore_point.clear_partials([partial])
        raise
    return point


def _dumped(database: StackDatabase, folder: Path) -> DatabaseContent:
    """Dump a database; name a full disk, which the tools report in many ways."""
    try:
        return database.dump(folder)
    except Refused as error:
        if shutil.disk_usage(folder).free > FULL:
            raise
        what = f"the disk of {folder.parent.parent} is full: {error.what}"
        raise Refused(what, "free some space, then try again") from error


def _copied(models: Path, to: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Copy the model that each tier serves; return the files, and why others were left out.

    A damaged model does not prevent a backup of the database.
    """
    copied, broken = {}, {}
    for tier in registry.served_tiers(models):
        try:
            model = registry.find_model(models, tier)
        except Refused:
            named = registry.served_file(models, tier) or "there is none"
            broken[tier] = f"its link does not lead to a complete model: {named}"
            continue
        for path in model.files:
            shutil.copyfile(path, to / path.name)
        if wrong := registry.find_damage(replace(model, file=to / model.file.name)):
            broken[tier] = wrong
            for path in model.files:
                (to / path.name).unlink()
        else:
            copied[tier] = model.file.name
    return copied, broken


def verify_restore_point(
    change: Change, database: StackDatabase, point: RestorePoint
) -> RestorePoint:
    """Verify a restore point again: its files first, then by restoring it.

    Raises:
        StepFailed: it is damaged, and no longer verified; or it could not be checked.
    """
    steps = Steps(change, PROOF)
    with steps.run("files", "comparing checksums") as step:
        try:
            archive.refuse_damaged_point(point)
        except Refused:
            restore_point.mark_verified(point)
            raise
        step.detail = f"{len(point.files)} files are unchanged"
    with _awake(database):
        return _proven(steps, database, point, LATER)


def _proven(steps: Steps, database: StackDatabase, point: RestorePoint, how: str) -> RestorePoint:
    """Restore into a scratch database, compare with the manifest, and record the result."""
    refuse_other_database(database, point)
    with steps.run("proof", "restoring it into a scratch database") as step:
        start = time.monotonic()
        try:
            restored = database.prove(point.database)
        except Refused as error:
            fix = error.fix or f"inv backup.verify {point.id}"
            raise Refused(f"it could not be restored: {error.what}", fix) from error
        if wrong := point.content.differences(restored):
            restore_point.mark_verified(point)
            listed = "; ".join(wrong[:SHOWN]) + ("; ..." if len(wrong) > SHOWN else "")
            what = f"{point.id} differs from what was dumped: {listed}"
            raise Refused(what, "create another one: inv backup.create")
        point = restore_point.mark_verified(point, how, time.monotonic() - start)
        step.detail = f"restored and compared: {restored.summary}"
    return point


def refuse_other_database(database: StackDatabase, point: RestorePoint) -> None:
    """Check that a restore point fits the kind of a database.

    Raises:
        Refused: it is of another kind.
    """
    if point.database_kind != database.kind:
        what = (
            f"{point.id} contains {point.database_kind} data, but this engine runs {database.kind}"
        )
        raise Refused(what, f"add --engine {point.engine}", code=2)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
