"""The work of a stage: one series at one interval, in two folders of its own."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from .rules import Interval, Rule, Rules

DATA = Path("data/pipeline")
ARTIFACTS = Path("artifacts")
"""The folders of all series, relative to the root of the repository."""


@dataclass(frozen=True)
class Length:
    """The length of a period, in words and days, and the number of periods in a year."""

    word: str
    days: int
    year: int


INTERVALS: dict[Interval, Length] = {"1d": Length("day", 1, 365), "1w": Length("week", 7, 52)}


@dataclass(frozen=True)
class Work:
    """One series at one interval: its rules, and the folders of its files."""

    series: str
    interval: Interval
    rules: Rules
    data: Path
    artifacts: Path

    @property
    def rule(self) -> Rule:
        return self.rules.series[self.series]

    @property
    def length(self) -> Length:
        return INTERVALS[self.interval]

    def path(self, name: str) -> Path:
        """Return the path of a file that the stages name data/... or artifacts/..."""
        folder, file = name.split("/", 1)
        return {"data": self.data, "artifacts": self.artifacts}[folder] / file

    def later(self, start: dt.date, periods: int) -> dt.date:
        return start + dt.timedelta(days=periods * self.length.days)


def folder(series: str, interval: str) -> str:
    return f"{series}-{interval}"
