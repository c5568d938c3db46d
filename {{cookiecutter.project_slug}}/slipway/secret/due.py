"""When each secret was last made or rotated, and when it is due again."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slipway.config import schema, values
from slipway.core import journal
from slipway.core.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    """When a secret is to be rotated."""

    name: str
    every: str
    last: str
    """The day it was made or rotated; empty if that is not recorded."""
    due: str
    """The day; empty if the last one is not known."""
    state: str
    next: str
    """What to type; empty if nothing is due."""


def due_secrets(
    project: Project, profile: str, days: int, now: datetime | None = None
) -> list[DueSecret]:
    """Return the secrets of a profile that have a period, the most urgent first.

    A secret whose period ends within so many `days` is due soon.

    Raises:
        Refused: the schema or the env file cannot be read.
    """
    held = {value.name for value in values.effective_values(project, profile)}
    rotated = [item for item in schema.read(project) if item.rotation and item.name in held]
    entries = [item for item in journal.entries(project.root) if item.get("profile") == profile]
    at, soon = now or datetime.now(UTC), timedelta(days=days)
    found = [_due_secret(item, _last_change(entries, item.name), at, soon) for item in rotated]
    rows = [
        item if item.state == OK else replace(item, next=f"{item.next} --profile {profile}")
        for item in found
    ]
    return sorted(rows, key=lambda item: (item.due, item.name))


def urgent_secrets(secrets: Sequence[DueSecret]) -> list[DueSecret]:
    """Return the secrets that are not ok."""
    return [item for item in secrets if item.state != OK]


def checks(project: Project, profile: str) -> Iterator[Finding]:
    """Yield the secrets to rotate, or the day on which the next one is due."""
    found = due_secrets(project, profile, SOON_DAYS)
    if urgent := urgent_secrets(found):
        names = ", ".join(f"{item.name} {item.state} {item.due}".rstrip() for item in urgent)
        yield Finding("rotation", "warn", names, f"inv env.due --profile {profile}")
    elif found:
        yield Finding("rotation", "ok", f"the next is due on {found[0].due}: {found[0].name}")


def _due_secret(
    variable: Variable, last: datetime | None, now: datetime, soon: timedelta
) -> DueSecret:
    every = variable.rotation.every if variable.rotation else ""
    command = f"inv {ROTATED} {variable.name}"
    if not last:
        return DueSecret(variable.name, every, "", "", UNKNOWN, command)
    last = min(last, now)  # the clock may have been set back
    due = period_end(last, every)
    state = OVERDUE if due <= now else SOON if due - now <= soon else OK
    days = (f"{last:%Y-%m-%d}", f"{due:%Y-%m-%d}")
    return DueSecret(variable.name, every, *days, state, "" if state == OK else command)


def _last_change(entries: Sequence[dict[str, Any]], name: str) -> datetime | None:
    """Return when a secret was last made or rotated, by the journal."""
    for entry in reversed(entries):
        made = entry.get("verb") == MADE and name in (entry.get("names") or [])
        rotated = entry.get("verb") == ROTATED and entry.get("name") == name
        if (made or rotated) and entry.get("outcome", "done") == "done":
            return datetime.fromisoformat(entry["at"])
    return None


def period_end(start: datetime, every: str) -> datetime:
    """Return when a period ends, by the calendar."""
    count, unit = re.split(" ", every.removesuffix("s"), maxsplit=1)
    try:
        if unit in DAYS:
            return start + timedelta(days=int(count) * DAYS[unit])
        months = start.year * 12 + start.month - 1 + int(count) * MONTHS[unit]
        year, month = divmod(months, 12)
        last_day = calendar.monthrange(year, month + 1)[1]
        return start.replace(year=year, month=month + 1, day=min(start.day, last_day))
    except (OverflowError, ValueError):  # beyond the calendar
        return datetime.max.replace(tzinfo=UTC)
