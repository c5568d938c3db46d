"""When a night is due: times of day in UTC, whatever the clock and the machine did meanwhile.

Nothing here waits or looks at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from slipway.core.errors import Refused

PAUSE = timedelta(minutes=10)
"""Between a night that failed and its next try."""
RETRIES = 3
BACK = timedelta(hours=1)
"""How far a clock may be set back before what it said is believed no more."""
DAY = timedelta(days=1)
DEFAULT = "02:00"


def parse_time(text: str) -> time:
    """Read a time of day, such as 02:00.

    Raises:
        Refused: it is none.
    """
    try:
        return datetime.strptime(text, "%H:%M").replace(tzinfo=UTC).timetz()
    except ValueError as error:
        what = f"BACKUP_AT should be a time of day in UTC, such as 02:00, not {text!r}"
        raise Refused(what, "inv env.show", code=2) from error


def last_due(now: datetime, at: time) -> datetime:
    """Return when it was that time of day, not after now."""
    today = datetime.combine(now.astimezone(UTC).date(), at)
    return today if today <= now else today - DAY


def next_due(now: datetime, at: time) -> datetime:
    """Return when it is that time of day again, after now."""
    return last_due(now, at) + DAY


@dataclass(frozen=True)
class Timetable:
    """What was done of a daily task, as far as it decides when the next time is."""

    at: time
    handled: datetime
    """Up to when nothing is missing."""
    failed: datetime | None = None
    """When the last try failed, while another one is to follow."""
    tries: int = 0

    def due(self, now: datetime) -> bool:
        """Tell whether it is time; of several times that were missed, one counts."""
        if self.failed and timedelta() <= now - self.failed < PAUSE:
            return False
        return last_due(now, self.at) > self.handled

    def seen(self, now: datetime) -> Timetable:
        """Return it for a clock that may have been set back: the next time of day counts then."""
        return replace(self, handled=now) if self.handled - now > BACK else self

    def done(self, now: datetime) -> Timetable:
        """Return it after all went well; `now` is when that was begun."""
        return Timetable(self.at, now)

    def lost(self, now: datetime) -> Timetable:
        """Return it after a try failed: there is another one, but not for ever."""
        if self.tries == RETRIES:
            return self.done(now)
        return replace(self, failed=now, tries=self.tries + 1)

    @property
    def left(self) -> int:
        """How many tries are left of a night that failed."""
        return RETRIES - self.tries + 1 if self.failed else 0
