"""Which restore points are kept: the last ones of so many days, weeks, months and years.

Days, weeks, months and years are counted by those that have a verified restore point, not by the
calendar: where none was made for a month, the ones before it are still the last seven days'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from slipway.backup import restore_point
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from datetime import datetime

    class RetentionItem(Protocol):
        """A restore point, or a copy of one off-site."""

        @property
        def id(self) -> str:
            """What it is called."""

        @property
        def sequence(self) -> int:
            """What orders it among others."""

        @property
        def created(self) -> datetime:
            """When it was made."""

        @property
        def kind(self) -> str:
            """Why it was made."""

        @property
        def series(self) -> tuple[str, str]:
            """Whose data it holds."""

        @property
        def good(self) -> bool:
            """Tell whether it is verified and complete."""


LONGEST_GAP = timedelta(hours=48)
"""So long without a restore point means that something was wrong."""
DAILY = 7


@dataclass(frozen=True)
class RetentionPolicy:
    """How many are kept: the last one each of so many days, weeks, months and years."""

    daily: int = DAILY
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The counts by the name of what they count."""
        return {
            "day": self.daily,
            "week": self.weekly,
            "month": self.monthly,
            "year": self.yearly,
        }


def parse_policy(text: str) -> RetentionPolicy:
    """Parse BACKUP_KEEP: counts of days, weeks, months and years, such as 7,4,12,0.

    Raises:
        Refused: the text is not such a list.
    """
    counts = text.split(",")
    if len(counts) > len(RetentionPolicy().counts) or not all(map(str.isdecimal, counts)):
        what = f"BACKUP_KEEP must be counts of days, weeks, months and years, not {text!r}"
        raise Refused(what, "such as 7,4,12,0: inv env.show", code=2)
    return RetentionPolicy(*map(int, counts), *[0] * (len(RetentionPolicy().counts) - len(counts)))


PERIODS: dict[str, Callable[[datetime], Hashable]] = {
    "day": lambda at: at.date(),
    "week": lambda at: at.isocalendar()[:2],
    "month": lambda at: (at.year, at.month),
    "year": lambda at: at.year,
}


def reasons_to_keep(points: Iterable[RetentionItem], policy: RetentionPolicy) -> dict[str, str]:
    """Return the id of each restore point that is kept, with the reason.

    What restores made of what was there is judged by itself: it may be what went wrong, and must
    not take the place of what is good.
    """
    series: dict[tuple[str, str, bool], list[RetentionItem]] = {}
    for point in sorted(points, key=lambda item: item.sequence):
        series.setdefault((*point.series, point.kind == restore_point.SAFETY), []).append(point)
    return {id_: why for ours in series.values() for id_, why in _kept(ours, policy).items()}


def _kept(ours: Sequence[RetentionItem], policy: RetentionPolicy) -> dict[str, str]:
    """Decide about the points of the same data, oldest first."""
    good = [point for point in ours if point.good]
    if not good:
        return {point.id: "none is verified" for point in ours}
    reasons = {good[-1].id: "the newest verified"}
    for name, count in policy.counts.items():
        for number, point in enumerate(_last(good, PERIODS[name], count), start=1):
            reasons.setdefault(point.id, f"the last of its {name} ({number} of {count})")
    since = [point for point in ours if point.sequence > good[-1].sequence]
    reasons = {point.id: "newer than the newest verified" for point in since} | reasons
    return _after_gap(ours, policy) | reasons


def _last(
    good: Sequence[RetentionItem], period: Callable[[datetime], Hashable], count: int
) -> list[RetentionItem]:
    """Return the last point of each of the last `count` periods that have one."""
    found: dict[Hashable, RetentionItem] = {}
    for point in reversed(good):
        found.setdefault(period(point.created), point)
    return [*found.values()][:count]


def _after_gap(ours: Sequence[RetentionItem], policy: RetentionPolicy) -> dict[str, str]:
    """Keep all points since the last gap, and the last good one before it.

    Until there are points of as many days as the policy keeps: something went wrong at the gap, and
    nobody may have noticed yet.
    """
    good = [point for point in ours if point.good]
    begins = [
        number
        for number in range(1, len(good))
        if abs(good[number].created - good[number - 1].created) > LONGEST_GAP
    ]
    if not begins:
        return {}
    before, first = good[: begins[-1]], good[begins[-1]]
    after = [point for point in ours if point.sequence >= first.sequence]
    days = {point.created.date() for point in after if point.good}
    if len(days) >= (policy.daily or DAILY):
        return {}
    last = before[-1:]
    return dict.fromkeys((point.id for point in after), "made since the last gap") | dict.fromkeys(
        (point.id for point in last), "the last verified before a gap"
    )
