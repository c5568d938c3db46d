"""The features of each period, computed from its value and those before it.

No feature looks ahead: those of a period are the same whatever follows it.
"""

import argparse
import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, pstdev

from ..shared.console import AppError
from ..shared.rowfiles import read
from .points import Point, daily, weekly
from .work import Work
from .writing import read_table, replace_table

Values = Sequence[float]
"""The values up to a period, newest last."""

FEATURES: Mapping[str, Callable[[Values], float]] = {
    "lag_0": lambda values: values[-1],
    "lag_1": lambda values: values[-2],
    "lag_2": lambda values: values[-3],
    "lag_7": lambda values: values[-8],
    "mean_3": lambda values: fmean(values[-3:]),
    "mean_7": lambda values: fmean(values[-7:]),
    "mean_28": lambda values: fmean(values[-28:]),
    "spread_7": lambda values: pstdev(values[-7:]),
    "lowest_7": lambda values: min(values[-7:]),
    "highest_7": lambda values: max(values[-7:]),
}
"""Each feature of the past by name, computed from the newest PAST values."""

PAST = 28
"""Values that the features of one period depend on."""

SEASON = ("season_sin", "season_cos")

FEWEST = 2 * PAST
"""Periods below which there is hardly anything to fit to."""

NAMES = ("date", "value", *FEATURES, *SEASON)
"""The columns of features.csv."""


def process(work: Work, asked: argparse.Namespace) -> list[str]:
    """Validate the rows, compute the series and its features, and write them.

    Raises RefusedFileError for an invalid row, AppError for a gap or too few rows.
    """
    source, file = work.path("data/fetched.csv"), work.path("data/features.csv")
    if not source.is_file():
        raise AppError(f"{source} is missing; run the stage fetch first")
    points = daily(read(source), work.series, asked.gap_days_max)
    if work.length.days > 1:
        points = weekly(points, work.rule.week)
    if len(points) < FEWEST:
        word = f"{work.length.word}s"
        raise AppError(f"{source} has {len(points)} full {word}; {FEWEST} are needed")
    changed = replace_table(file, NAMES, table(points))
    span = f"{len(points)} {work.length.word}s, {points[0].date} to {points[-1].date}"
    return [f"{file}: {span}{'' if changed else ', unchanged'}"]


def table(points: Sequence[Point]) -> list[list[object]]:
    """Return the rows of features.csv; the first periods have no past, and so None as features."""
    values = [point.value for point in points]
    return [
        [
            str(point.date),
            point.value,
            *past(values[max(0, end - PAST) : end]),
            *season(point.date),
        ]
        for end, point in enumerate(points, start=1)
    ]


def past(values: Values) -> list[float | None]:
    """Return the features of a period from its value and those before it, newest last."""
    if len(values) < PAST:
        return [None] * len(FEATURES)
    return [feature(values) for feature in FEATURES.values()]


def season(date: dt.date) -> tuple[float, float]:
    """Return the position of a date in its year, as the sine and cosine of an angle."""
    angle = 2 * math.pi * date.timetuple().tm_yday / 365.25
    return math.sin(angle), math.cos(angle)


def load(work: Work) -> tuple[list[Point], list[list[float] | None]]:
    """Return the points of features.csv, and the features of each, or None if there are none.

    Raises AppError if the file is missing, or not as `process` writes it.
    """
    file = work.path("data/features.csv")
    rows = read_table(file, "process")
    try:
        points = [Point(dt.date.fromisoformat(row["date"]), float(row["value"])) for row in rows]
        found = [
            [float(row[name]) for name in FEATURES] if row[next(iter(FEATURES))] else None
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise AppError(f"{file} was not made by this version: run the stage process") from error
    return points, found
