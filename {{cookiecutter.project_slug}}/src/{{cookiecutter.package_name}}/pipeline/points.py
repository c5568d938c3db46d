"""A series: one value for each period, without a gap."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from ..problem import Observation
from ..shared.console import AppError

AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "highest": max,
    "lowest": min,
    "mean": fmean,
    "sum": sum,
}
"""How the days of a week are aggregated, by the name that the rules use."""

WEEK = 7


@dataclass(frozen=True)
class Point:
    """The value of the period that begins at a date."""

    date: dt.date
    value: float


def daily(rows: Sequence[Observation], series: str, gap_days_max: int) -> list[Point]:
    """Return a point for each day from the first row to the last, oldest first.

    A missing day gets the value of the day before, which is what was known at the time.

    Raises AppError if more than `gap_days_max` are missing in a row.
    """
    known = sorted((Point(row.date, getattr(row, series)) for row in rows), key=by_date)
    points = known[:1]
    for before, after in pairwise(known):
        missing = (after.date - before.date).days - 1
        if missing > gap_days_max:
            raise AppError(
                f"{missing} days are missing after {before.date}; complete the source, or fill"
                f" them from the day before: --gap-days-max {missing}"
            )
        points += [Point(days_after(before.date, n + 1), before.value) for n in range(missing)]
        points.append(after)
    return points


def weekly(days: Sequence[Point], aggregate: str) -> list[Point]:
    """Return a point for each full week, Monday to Sunday, of days without a gap."""
    first = next((n for n, day in enumerate(days) if day.date.weekday() == 0), len(days))
    starts = range(first, len(days) - WEEK + 1, WEEK)
    combine = AGGREGATES[aggregate]
    return [Point(days[n].date, combine([day.value for day in days[n : n + WEEK]])) for n in starts]


def by_date(point: Point) -> dt.date:
    return point.date


def days_after(date: dt.date, days: int) -> dt.date:
    return date + dt.timedelta(days=days)
