"""When a nightly backup is due: a time of day in UTC, even if the clock or the machine was stopped.

Nothing here waits or reads the clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from slipway.core.errors import Refused

PAUSE = timedelta(minutes=10)
"""Between a failed backup and the next attempt."""
RETRIES = 3
BACK = timedelta(hours=1)
"""How far a clock may be set back before its earlier readings are ignored."""
DAY = timedelta(days=1)
DEFAULT = "02:00"


def parse_time(text: str) -> time:
    """Parse a time of day, such as 02:00.

    Raises:
        Refused: the text is not a time of day.
    """
    try:
        return datetime.strptime(text, "%H:%M").replace(tzinfo=UTC).timetz()
    except ValueError as error:
        what = f"BACKUP_AT must be a time of day in UTC, such as 02:00, not {text!r}"
        raise Refused(what, "inv env.show", code=2) from error


def last_due(now: datetime, at: time) -> datetime:
    """Return the last time it was that time of day, at the latest now."""
    today = datetime.combine(now.astimezone(UTC).date(), at)
    return today if today <= now else today - DAY


def next_due(now: datetime, at: time) -> datetime:
    """Return the next time it is that time of day, after now."""
    return last_due(now, at) + DAY


@dataclass(frozen=True)
class Timetable:
    """The state of a daily task, as far as it decides when the task is due next."""

    at: time
    handled: datetime
    """Up to when no run is missing."""
    failed: datetime | None = None
    """When the last attempt failed, if another one follows."""
    tries: int = 0

    def due(self, now: datetime) -> bool:
        """Tell whether the task is due; several missed runs count as one."""
        if self.failed and timedelta() <= now - self.failed < PAUSE:
            return False
        return last_due(now, self.at) > self.handled

    def after_clock_change(self, now: datetime) -> Timetable:
        """Count only the next run from now on if the clock was set back."""
        return replace(self, handled=now) if self.handled - now > BACK else self

    def after_success(self, now: datetime) -> Timetable:
        """Return the timetable after a success; `now` is when the run started."""
        return Timetable(self.at, now)

    def after_failure(self, now: datetime) -> Timetable:
        """Return the timetable after a failure: another attempt follows, up to RETRIES times."""
        if self.tries == RETRIES:
            return self.after_success(now)
        return replace(self, failed=now, tries=self.tries + 1)

    @property
    def tries_left(self) -> int:
        """How many attempts are left after a failure."""
        return RETRIES - self.tries + 1 if self.failed else 0
