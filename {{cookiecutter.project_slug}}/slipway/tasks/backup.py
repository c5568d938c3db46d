"""backup.*: create, verify, prune, export, schedule and restore restore points."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.backup import (
    archive,
    catalog,
    restore_point,
)
from slipway.backup import (
    create as backup_create,
)
from slipway.backup import (
    drill as backup_drill,
)
from slipway.backup import (
    restore as backup_restore,
)
from slipway.backup.databases import select
from slipway.backup.drill import Drill
from slipway.backup.offsite import copies, download, storage
from slipway.backup.restore import RestoreRequest, RestoreRun
from slipway.backup.schedule import host_timers, nightly
from slipway.backup.schedule import timetable as times
from slipway.config import values as config_values
from slipway.core import journal, output, project
from slipway.core.errors import Refused
from slipway.core.transaction import Steps, change
from slipway.secret.rotation import SecretProbe, secret_probes
from slipway.stack import hooks, session
from slipway.tasks import env, options

if TYPE_CHECKING:
    from invoke.context import Context

    from slipway.backup.offsite.copies import OffsiteFolder
    from slipway.backup.restore_point import RestorePoint
    from slipway.backup.schedule.host_timers import HostSchedule
    from slipway.core.project import Project
    from slipway.stack.session import Session

NEEDS = ("api",)
keygen = env.keygen  # restore points are encrypted for such keys too
NONE_YET = f"No restore point yet. Next: {restore_point.CREATE_COMMAND}"
secret_probes["BACKUP_URL_OPTIONS"] = SecretProbe("the storage", storage.try_options)
ALL = "all"
SCHEDULER = "scheduler"
ID = {"id": "a restore point, such as 20261122-020000-3f2a"}


@task(
    help=options.WHERE
    | {
        "kind": f"{', '.join(restore_point.KINDS)} (as the nightly run does)",
        "verify": "restore it into a scratch database to verify it (default: yes)",
    }
)
def create(
    _c: Context, kind: str = "manual", verify: bool = True, profile: str = "", engine: str = ""
) -> None:
    """Create and verify a restore point of database and models."""
    _refuse_unknown(kind)
    opened = session.open_session(profile, engine)
    database = select.open_database(opened)
    _announce(opened, "backup.create", f"{database.kind} and models")
    if kind == nightly.KIND and verify:
        output.say(
            f"Restore point {nightly.run_nightly(opened, database).id}. Next: inv backup.list"
        )
        return
    away = (
        copies.configured_offsite(opened.project, opened.profile)
        if kind != restore_point.SAFETY
        else None
    )
    with change(opened.project.root, "backup.create", kind=kind) as made:
        steps = Steps(made, backup_create.STEPS)
        point = backup_create.create_restore_point(
            opened, steps, database, kind, prove=verify, away=away
        )
    hooks.run_after(hooks.POST_BACKUP, made)
    proven = "" if point.verified else ", NOT VERIFIED"
    output.say(f"Restore point {point.id}{proven}. Next: inv backup.list")


def _refuse_unknown(kind: str) -> None:
    if kind not in restore_point.KINDS:
        fix = f"choose one of: {', '.join(restore_point.KINDS)}"
        raise Refused(f"there is no kind {kind!r}", fix, code=2)


def _announce(opened: Session, verb: str, what: str) -> None:
    where = f"profile {opened.profile}, engine {opened.engine.name}"
    output.say(f"{verb}: {what} ({where})")


@task(name="list", help={"json": options.JSON})
def list_(_c: Context, json: bool = False) -> None:
    """List restore points, here and off-site, with their state."""
    here = project.load()
    found = catalog.read_catalog(here.backups, _away(here))
    newest_first = [*reversed(found.items)]
    if json:
        output.show(
            [item.facts(asked=found.offsite_known) for item in newest_first], as_json=True, empty=""
        )
        if found.wrong:
            print(found.wrong, file=sys.stderr)
        return
    output.show(found.rows(), as_json=False, empty=NONE_YET)
    local = [item.point for item in newest_first if item.point]
    for line in (*found.warnings(here.backups), *backup_drill.report_objectives(here, local)):
        output.say(line)


def _away(here: Project) -> OffsiteFolder | None:
    return copies.configured_offsite(here, session.profile_name(here, ""))


@task(help=options.WHERE | {"id": f"{ID['id']}; or {restore_point.LATEST}; or {ALL}"})
def verify(_c: Context, id: str, profile: str = "", engine: str = "") -> None:
    """Verify restore points: check the files, then restore them."""
    opened = session.open_session(profile, engine)
    chosen = _chosen(opened, id)
    database = select.open_database(opened)
    failed: list[Refused] = []
    for point in chosen:
        _announce(opened, "backup.verify", point.id)
        try:
            with change(opened.project.root, "backup.verify", point=point.id) as made:
                backup_create.verify_restore_point(made, database, point)
        except Refused as error:
            failed.append(error)
    if failed:
        what = "\n".join(error.what for error in failed)
        raise Refused(what, failed[0].fix)
    output.say(f"{len(chosen)} verified.")


def _chosen(opened: Session, id_: str) -> list[RestorePoint]:
    """Return the chosen restore points.

    Raises:
        Refused: there is none.
    """
    folder, series = opened.project.backups, (opened.profile, opened.engine.name)
    if id_ != ALL:
        if id_ != restore_point.LATEST:
            download.refuse_offsite_only(opened.project, opened.profile, id_)
        return [
            restore_point.latest_point(folder, series)
            if id_ == restore_point.LATEST
            else restore_point.find_point(folder, id_)
        ]
    found = [point for point in restore_point.list_points(folder) if point.series == series]
    if not found:
        what = f"there is no restore point of profile {series[0]} on engine {series[1]}"
        raise Refused(what, restore_point.CREATE_COMMAND)
    return found


@task(
    help={
        "daily": "keep the last of each of this many days (default: BACKUP_KEEP)",
        "weekly": "likewise for weeks",
        "monthly": "likewise for months",
        "yearly": "likewise for years",
        "kind": f"only those of one kind: {', '.join(restore_point.KINDS)}",
        "dry-run": "show what would be deleted, and change nothing",
        "yes": options.YES,
    }
)
def prune(
    _c: Context,
    daily: str = "",
    weekly: str = "",
    monthly: str = "",
    yearly: str = "",
    kind: str = "",
    dry_run: bool = False,
    yes: bool = False,
) -> None:
    """Delete old restore points, never the newest verified one."""
    given = {"daily": daily, "weekly": weekly, "monthly": monthly, "yearly": yearly}
    counts = {name: options.count(text, f"--{name}") for name, text in given.items() if text}
    if kind:
        _refuse_unknown(kind)
    here = project.load()
    policy = replace(nightly.configured_policy(here, session.profile_name(here, "")), **counts)
    plan = catalog.plan_pruning(here.backups, _away(here), policy, kind)
    plan.show()
    if not dry_run and not plan.empty:
        output.confirm(f"Delete {plan.counts}?", yes=yes)
        with change(here.root, "backup.prune", **plan.facts):
            plan.apply()
        output.say(f"Deleted {plan.counts}.")
    if plan.wrong:
        raise Refused("off-site copies were not pruned", "inv backup.prune, once it responds")


@task(help=ID | {"to": f"a new file, a folder, a URL, or {copies.NAME}"})
def export(_c: Context, id: str, to: str) -> None:
    """Export a restore point as one file, here or to a storage."""
    here = project.load()
    away = None
    if to == copies.NAME or storage.is_url(to):
        away = copies.open_offsite(here, session.profile_name(here, ""), to)
    point = restore_point.find_point(here.backups, id)
    recipient = copies.backup_recipient(here, session.profile_name(here, ""))
    shown = away.shown if away and to != copies.NAME else to
    with change(here.root, nightly.EXPORT, point=point.id, to=shown):
        if away:
            copy = away.upload(point)
            name, count = f"{away.shown}/{copy.file}", copy.size
        else:
            file = archive.write_archive(point, Path(to), recipient)
            name, count = str(file), file.stat().st_size
    how = f"encrypted for {recipient}, " if recipient else ""
    output.say(f"{name}: {output.format_size(count)}, {how}read back and intact.")


@task(
    name="import",
    help={
        "file": "an export: a file, a URL, or the id of an off-site copy",
        "identity": options.IDENTITY,
    },
)
def import_(_c: Context, file: str, identity: str = "") -> None:
    """Import a restore point that backup.export wrote."""
    here = project.load()
    point = download.import_point(here, session.profile_name(here, ""), file, identity)
    output.say(f"Imported restore point {point.id}. Next: inv backup.verify {point.id}")


@task(
    help=options.WHERE
    | {
        "cron": "print only a crontab line, for a host with its own schedule",
        "systemd": f"print only a systemd unit: {' or '.join(host_timers.KINDS)}",
    }
)
def schedule(
    _c: Context, cron: bool = False, systemd: str = "", profile: str = "", engine: str = ""
) -> None:
    """Show when restore points are made, and how the last went."""
    opened = session.open_session(profile, engine, whole=False)
    values = config_values.read_values(opened.project, opened.profile)
    at = times.parse_time(values.get("BACKUP_AT") or times.DEFAULT)
    here = host_timers.host_schedule(opened.project, opened.profile, opened.engine.name, at)
    if cron or systemd:
        output.say(
            (
                host_timers.cron_line(here) if cron else host_timers.systemd_unit(here, systemd)
            ).rstrip("\n")
        )
        return
    _tell_schedule(opened, here)


def _tell_schedule(opened: Session, here: HostSchedule) -> None:
    """Describe the nightly run, the service, and how a host can do the same."""
    service = next((one for one in opened.engine.status() if one.service == SCHEDULER), None)
    entries = journal.entries(opened.project.root)
    entry, copied = nightly.last_nightly_run(entries), nightly.last_offsite_copy(entries)
    keep = nightly.configured_policy(opened.project, opened.profile)
    kept = ", ".join(f"{count} {name}s" for name, count in keep.counts.items() if count)
    soon = times.next_due(datetime.now(UTC), here.at)
    missing = "not in this stack (services/scheduler): use the host, as below"
    rows = {
        "what": f"backup.create --kind scheduled; keeps the last of each of {kept} (BACKUP_KEEP)",
        "when": f"every day at {here.at:%H:%M} UTC (BACKUP_AT)",
        "next": f"{soon:%Y-%m-%d %H:%M} UTC" if service and service.replicas else "not scheduled",
        "last": nightly.describe_run(entry) if entry else "no run yet",
        "off-site": nightly.describe_run(copied) if copied else "no copy yet",
        "scheduler": f"{service.state}: {service.detail}" if service else missing,
    }
    for name, said in rows.items():
        output.say(f"{name:<10} {said}")
    folder = "/etc/systemd/system"
    output.say(f"""
To use the host's own schedule instead of the service:
  (crontab -l; inv backup.schedule --cron) | crontab -
or
  inv backup.schedule --systemd service | sudo tee {folder}/{here.name}.service
  inv backup.schedule --systemd timer | sudo tee {folder}/{here.name}.timer
  sudo systemctl daemon-reload && sudo systemctl enable --now {here.name}.timer""")


@task(
    help=options.WHERE
    | {
        "id": f"{ID['id']}; {restore_point.LATEST}; or an exported file or URL",
        "identity": options.IDENTITY,
        "only": f"{backup_restore.DATABASE} or {backup_restore.MODELS} (default: both)",
        "timeout": "seconds each service may take to become healthy",
        "drop-old": "delete the previous database",
        "yes": options.YES,
    },
)
def restore(
    _c: Context,
    id: str,
    only: str = "",
    timeout: str = "120",
    identity: str = "",
    drop_old: bool = False,
    yes: bool = False,
    profile: str = "",
    engine: str = "",
) -> None:
    """Restore a restore point; if that fails, nothing is changed."""
    if only not in backup_restore.STEPS:
        raise Refused(f"there is no part {only!r}", "--only database, or --only models", code=2)
    limit = options.seconds(timeout)
    opened = session.open_session(profile, engine)
    database = select.open_database(opened)
    point = backup_restore.choose_point(opened, id, identity)
    if only != backup_restore.MODELS:
        backup_create.refuse_other_database(database, point)
    if left := backup_restore.interrupted_restore(opened.project.root):
        output.say(f"{left.check}: {left.detail}")
    facts = {"point": point.id, "source": point.id, "only": only}
    with change(opened.project.root, backup_restore.VERB, **facts) as made:
        turn = RestoreRun(opened, made, database, RestoreRequest(point, only, limit))
        turn.run(lambda: _agreed(turn, yes=yes))
    output.say(f"Restored {point.id}. Next: inv deploy.status")
    # An unanswered question must not hold the lock: the nightly run would fail.
    _drop(turn, drop=drop_old, ask=not yes)


def _agreed(turn: RestoreRun, *, yes: bool) -> None:
    """Show what will change, and ask."""
    point = turn.point
    proven = point.state
    _announce(
        turn.session, backup_restore.VERB, f"{point.id}, age {output.format_elapsed(point.age)}"
    )
    output.say(f"verified: {proven}; the current data is kept")
    output.show([*turn.plan()], as_json=False, empty="It contains nothing to restore.")
    if turn.unreadable:
        output.say(f"The current data cannot be read: {turn.unreadable}")
    output.confirm(f"Restore {point.id}?", yes=yes)


@task(
    help=options.WHERE
    | {
        "id": f"{ID['id']}; {restore_point.LATEST}; or an exported file or URL",
        "identity": options.IDENTITY,
        "timeout": "seconds each service may take to become healthy",
        "keep": "leave the scratch stack up for inspection",
    },
)
def drill(
    _c: Context,
    id: str,
    timeout: str = "120",
    identity: str = "",
    keep: bool = False,
    profile: str = "",
    engine: str = "",
) -> None:
    """Time a restore into a scratch stack, which is then removed."""
    limit = options.seconds(timeout)
    opened = session.open_session(profile, engine, whole=False)
    point = backup_restore.choose_point(opened, id, identity)
    backup_drill.refuse_other_engine(point, engine)
    turn = Drill(
        opened.project, profile or point.profile, RestoreRequest(point, limit=limit), keep=keep
    )
    output.say(
        f"{backup_drill.VERB}: {point.id}, age {output.format_elapsed(point.age)}, "
        f"as {turn.scratch.name}"
    )
    facts = {"point": point.id, "profile": turn.profile, "engine": point.engine}
    with change(opened.project.root, backup_drill.VERB, **facts) as made:
        seconds = turn.run(made)
    output.say(f"Drill of {point.id} {backup_drill.describe_duration(seconds)}.")


def _drop(turn: RestoreRun, *, drop: bool, ask: bool) -> None:
    """Delete the previous databases, if wanted and if a restore point has their content."""
    kept = turn.old_databases()
    if not kept:
        return
    if turn.unreadable and drop:
        output.say("It was not deleted: it could not be read, so it has no restore point.")
    elif not drop and ask and sys.stdin.isatty():
        with suppress(Refused):
            output.confirm(f"Delete the previous database ({', '.join(kept)})?", yes=False)
            drop = True
    if drop and not turn.unreadable:
        with change(turn.session.project.root, "backup.drop", databases=kept):
            for name in kept:
                turn.database.drop(name)
        output.say(f"Deleted: {', '.join(kept)}")
        return
    for name in kept:
        command = turn.database.drop_command(name)
        output.say(f"The previous database is kept as {name}. To delete it: {command}")
