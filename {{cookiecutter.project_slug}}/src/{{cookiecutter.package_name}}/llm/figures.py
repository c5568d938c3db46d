"""Finds the numbers in a text, in digits or in words, with their units; and the dates."""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .units import Unit, Units

ONES = str.split(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
TENS = str.split("twenty thirty forty fifty sixty seventy eighty ninety")
WORDS = {
    **{word: number for number, word in enumerate(ONES)},
    **{word: 10 * number for number, word in enumerate(TENS, 2)},
    **{
        f"{ten}{joint}{one}": 10 * tens + number
        for tens, ten in enumerate(TENS, 2)
        for number, one in enumerate(ONES[1:10], 1)
        for joint in "- "
    },
    "hundred": 100,
    "a hundred": 100,
    "one hundred": 100,
}
WRITTEN = "|".join(map(re.escape, sorted(WORDS, key=len, reverse=True)))
SHARES = "half|halves|thirds?|quarters?|fifths?|tenths?|dozens?|twice|double|triple|thousands?"
"""Words for amounts that no digits stand for."""
MONTHS = "january february march april may june july august september october november december"
DAYS = "monday tuesday wednesday thursday friday saturday sunday"

_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in MONTHS.split())
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?"
DATE = re.compile(
    rf"""\b(?:
        (?P<y1>\d{{4}})-(?P<m1>\d\d)-(?P<d1>\d\d)
      | (?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?(?P<m2>{_MONTH})\b\.?(?:,?\s(?P<y2>\d{{4}})\b)?
      | (?P<m3>{_MONTH})\b\.?\s(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(?P<y3>\d{{4}})\b)?
      | (?P<m4>{_MONTH})\b\.?,?\s(?P<y4>\d{{4}})\b
      | (?P<weekday>{"|".join(DAYS.split())})s?\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
FIGURE = re.compile(
    rf"""
      (?P<other>\d+(?:[/:]\d+)+|\d+e[+-]?\d+|(?:{_NUMBER})(?:\s?[x\u00d7^]|(?:st|nd|rd|th|s)\b))
    | (?P<sign>(?<![\w.%°-])[-\u2010-\u2013\u2212\ufe63\uff0d](?=\d)
      | (?<=\w\s)[-\u2010-\u2013\u2212\ufe63\uff0d]\s(?=\d)
      | \b(?:minus|negative)\s)?(?P<number>{_NUMBER})
    | \b(?P<below>(?:minus|negative)\s)?(?P<words>{WRITTEN})\b
    | \b(?P<share>{SHARES})\b
    | (?P<sign2>[^\W\d_]?[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u218b\u2460-\u249b])
    """,
    re.IGNORECASE | re.VERBOSE,
)
ONE_COUNTS = re.compile(r"\s(?:in|out|of|hundred|to)\b", re.IGNORECASE)
"""Words that make "one" a number; otherwise it stands for a person or thing."""
ABOUT = re.compile(
    r"\b(?:about|around|roughly|nearly|almost|approximately|close to|some)\s$|[~≈]\s?$",
    re.IGNORECASE,
)
BOUND = re.compile(
    r"\b(?:more than|over|above|exceed(?:s|ing)?|at least|below|under|less than|at most|beyond"
    r"|(?:colder|warmer|hotter|cooler|higher|lower|greater) than|up to|by|drops?|rises?|falls?"
    r"|fewer than|between|or (?:more|less|higher|lower|above|below))\s?$|[<>≤≥]=?\s?$",
    re.IGNORECASE,
)
BOUND_AFTER = re.compile(
    r"\+|\s(?:or (?:more|less|higher|lower|above|below)|(?:below|above|under) (?:zero|freezing))\b"
    r"|\s?(?:to|[-\u2013])\s?\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Figure:
    """A number in a text."""

    start: int
    end: int
    value: float | None
    """None if it has a form that nothing is compared with, such as 3/4 or twice."""
    step: float = 1.0
    """The value of its last digit's place: 0.1 for 5.6."""
    unit: Unit | None = None
    about: bool = False
    """Whether the text says that it is rounded."""
    bound: bool = False
    """Whether the text says that it is the end of a range."""


@dataclass(frozen=True)
class Day:
    """A date in a text, or the parts of it that are given."""

    start: int
    end: int
    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None

    def is_of(self, date: dt.date) -> bool:
        """Return whether every given part is true of a date."""
        truths = {"year": date.year, "month": date.month, "day": date.day}
        truths["weekday"] = date.weekday()
        return all(getattr(self, part) in (None, truth) for part, truth in truths.items())


def days(text: str) -> Iterator[Day]:
    """Find the dates in a text."""
    for match in DATE.finditer(text):
        said = {name: value for name, value in match.groupdict().items() if value}
        weekday = said.pop("weekday", "")
        parts = {name[0]: value for name, value in said.items()}
        yield Day(
            *match.span(),
            year=int(parts["y"]) if "y" in parts else None,
            month=month(parts["m"]) if "m" in parts else None,
            day=int(parts["d"]) if "d" in parts else None,
            weekday=DAYS.split().index(weekday.lower()) if weekday else None,
        )


def month(text: str) -> int:
    """Return the number of a month in digits or as a word."""
    if text.isdigit():
        return int(text)
    return [name[:3] for name in MONTHS.split()].index(text[:3].lower()) + 1


def figures(text: str, units: Units) -> Iterator[Figure]:
    """Find the numbers in a text that are not dates."""
    end = 0
    for match in FIGURE.finditer(text):
        if match.start() < end:  # a part of the unit before it
            continue
        value, step = read(match)
        unit, end = units.after(text, match.end())
        if unit is None and is_somebody(match, text):
            continue
        yield Figure(
            match.start(),
            end,
            value,
            step,
            unit,
            about=bool(ABOUT.search(text[: match.start()])),
            bound=bool(BOUND.search(text[: match.start()]) or BOUND_AFTER.match(text, end)),
        )


def is_somebody(match: re.Match[str], text: str) -> bool:
    """Return whether a "one" without a unit is not a number."""
    alone = (match["words"] or "").lower() == "one"
    return alone and not ONE_COUNTS.match(text, match.end())


def read(match: re.Match[str]) -> tuple[float | None, float]:
    """Return the value of a number, and that of its last digit's place."""
    if match["words"]:
        value = WORDS[" ".join(match["words"].lower().split())]
        return float(-value if match["below"] else value), 1.0
    if not match["number"]:
        return None, 1.0
    digits = match["number"]
    thousands = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits)
    digits = digits.replace(",", "" if thousands else ".")
    step = 10.0 ** -len(digits.partition(".")[2])
    return (-float(digits) if match["sign"] else float(digits)), step


def blanked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Overwrite parts of a text with a filler of the same length, without numbers."""
    for start, end in spans:
        text = f"{text[:start]}{'_' * (end - start)}{text[end:]}"
    return text
