"""What `inv doctor` looks at in backups: their age, their copies off-site, and the last drill."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from slipway.backup import drill as backup_drill
from slipway.backup import metrics, restore, restore_point
from slipway.backup.drill import DRILL_COMMAND
from slipway.backup.restore_point import CREATE_COMMAND
from slipway.backup.schedule import nightly
from slipway.core import journal, output, transaction
from slipway.core.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.backup.drill import DrillResult
    from slipway.core.project import Project


def checks(project: Project, profile: str, engine: str) -> Iterator[Finding]:
    """Check how well the data of a profile on an engine is protected."""
    series = (profile, engine)
    if killed := restore.interrupted_restore(project.root):
        yield killed
    yield _check_age(project, series)
    yield from _check_offsite(project)
    yield from _check_drill_leftovers(project)
    yield from _check_readers(project)
    if result := backup_drill.last_drill(project.root, series):
        yield _check_drill(result)
    else:
        point = restore_point.newest_point(project.backups, series)
        detail = f"none yet of profile {profile} on engine {engine}"
        yield Finding("drill", "warn", detail, DRILL_COMMAND if point else CREATE_COMMAND)


def _check_age(project: Project, series: tuple[str, str]) -> Finding:
    point = restore_point.newest_point(project.backups, series)
    if not point:
        detail = f"no verified restore point of profile {series[0]} on engine {series[1]}"
        return Finding("backups", "warn", detail, CREATE_COMMAND)
    detail = f"newest verified restore point: {point.id}, age {output.format_elapsed(point.age)}"
    if point.age > metrics.RECOVERY_POINT:
        objective = metrics.format_objective(metrics.RECOVERY_POINT)
        detail = f"{detail}; the objective is {objective}"
        return Finding("backups", "warn", detail, CREATE_COMMAND)
    if point.age < timedelta():
        return Finding("backups", "warn", f"{detail}: the clock was set back", CREATE_COMMAND)
    return Finding("backups", "ok", detail)


def _check_offsite(project: Project) -> Iterator[Finding]:
    """Report the last copy if it failed: nobody watches the nightly backup."""
    last = nightly.last_offsite_copy(journal.entries(project.root))
    if last and last.get("outcome") == "failed":
        fix = f"inv backup.export {last.get('point')} --to offsite"
        yield Finding("off-site", "warn", nightly.describe_run(last), fix)


def _check_drill_leftovers(project: Project) -> Iterator[Finding]:
    left = backup_drill.drill_leftovers(project)
    if left and not transaction.change_under_way(project.root):
        names = ", ".join(folder.name for folder in left)
        detail = f"{names} is still there: the drill was killed, or run with --keep"
        yield Finding("drill", "warn", detail, DRILL_COMMAND)


def _check_readers(project: Project) -> Iterator[Finding]:
    """Name the databases that others can read: older versions made such."""
    files = sorted((project.root / "data").glob("*.db*"))
    wide = [f"data/{path.name}" for path in files if path.stat().st_mode & 0o077]
    if wide:
        detail = f"other users can read {', '.join(wide)}"
        yield Finding("data", "warn", detail, f"chmod 600 {' '.join(wide)}")


def _check_drill(result: DrillResult) -> Finding:
    when = f"{result.point}, {output.format_elapsed(result.age)} ago"
    if not result.ok:
        return Finding("drill", "warn", f"{when}, failed: {result.error}", DRILL_COMMAND)
    detail = f"{when}, {backup_drill.describe_duration(result.seconds)}"
    if result.slow:
        return Finding("drill", "warn", detail, f"shorten it, then run {DRILL_COMMAND}")
    if result.age > metrics.DRILL_INTERVAL:
        interval = metrics.format_objective(metrics.DRILL_INTERVAL)
        detail = f"{detail}; the objective is one every {interval}"
        return Finding("drill", "warn", detail, DRILL_COMMAND)
    return Finding("drill", "ok", detail)
