"""Periods of rotation: when each secret was made or replaced last, and when it is due again."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slipway.config import schema, values
from slipway.core import journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.config.schema import Variable
    from slipway.core.project import Project

OK, SOON, OVERDUE, UNKNOWN = "ok", "due soon", "overdue", "unknown"
ROTATED, MADE = "env.rotate", "env.init"
"""Verbs in the journal."""
SOON_DAYS = 14
MONTHS = {"month": 1, "year": 12}
DAYS = {"day": 1, "week": 7}


@dataclass(frozen=True)
class DueSecret:
    """How long ago a secret was made, and what is to be done."""

    name: str
    every: str
    last: str
    """The day; empty where nothing is known of it."""
    due: str
    """The day; empty where that is not known."""
    state: str
    next: str
    """What to type; empty where nothing is due."""


def due_secrets(
    project: Project, profile: str, days: int, now: datetime | None = None
) -> list[DueSecret]:
    """Return the secrets of a profile that are to be rotated, what is most urgent first.

    Those are due soon that are within so many days.

    Raises:
        Refused: the schema or the env file cannot be read.
    """
    held = {value.name for value in values.effective(project, profile)}
    rotated = [item for item in schema.read(project) if item.rotation and item.name in held]
    entries = [item for item in journal.entries(project.root) if item.get("profile") == profile]
    at = now or datetime.now(UTC)
    found = [_period(item, profile, _last(entries, item.name), (at, days)) for item in rotated]
    return sorted(found, key=lambda period: (period.due, period.name))


def urgent_secrets(periods: Sequence[DueSecret]) -> list[DueSecret]:
    """Return those that something is to be done about."""
    return [period for period in periods if period.state != OK]


def _period(
    variable: Variable, profile: str, last: datetime | None, when: tuple[datetime, int]
) -> DueSecret:
    every, command = (
        variable.rotation.every if variable.rotation else "",
        f"inv {ROTATED} {variable.name} --profile {profile}",
    )
    if not last:
        return DueSecret(variable.name, every, "", "", UNKNOWN, command)
    now, days = when
    last = min(last, now)  # the clock may have been set back
    due = period_end(last, every)
    state = OVERDUE if due <= now else SOON if due - now <= timedelta(days=days) else OK
    return DueSecret(
        *(variable.name, every, f"{last:%Y-%m-%d}", f"{due:%Y-%m-%d}", state),
        next="" if state == OK else command,
    )


def _last(entries: Sequence[dict[str, Any]], name: str) -> datetime | None:
    """Return when a secret was made or replaced, as the journal has it."""
    for entry in reversed(entries):
        made = entry.get("verb") == MADE and name in (entry.get("names") or [])
        rotated = entry.get("verb") == ROTATED and entry.get("name") == name
        if (made or rotated) and entry.get("outcome", "done") == "done":
            return datetime.fromisoformat(entry["at"])
    return None


def period_end(start: datetime, every: str) -> datetime:
    """Return when a period ends: months and years are those of the calendar."""
    count, unit = re.split(" ", every.removesuffix("s"), maxsplit=1)
    try:
        if unit in DAYS:
            return start + timedelta(days=int(count) * DAYS[unit])
        months = start.year * 12 + start.month - 1 + int(count) * MONTHS[unit]
        year, month = divmod(months, 12)
        last_day = calendar.monthrange(year, month + 1)[1]
        return start.replace(year=year, month=month + 1, day=min(start.day, last_day))
    except (OverflowError, ValueError):  # beyond what a calendar holds
        return datetime.max.replace(tzinfo=UTC)
