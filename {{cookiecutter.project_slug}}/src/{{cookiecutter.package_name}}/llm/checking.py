"""Checks that every number in a text is one of the forecast.

When in doubt, a number is refused: to withhold a correct text costs less than to show a wrong
number. Words without numbers are not checked.
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from .figures import Day, Figure, blanked, days, figures
from .kinds import PROBABILITY, Forecast
from .units import PERCENT, Unit, Units, of

HALF = 0.5 + 1e-6
"""A rounded number is off by at most half a unit of its last digit."""
ABOUT = {PERCENT: 5.0}
"""The rounding of each unit that "about" allows; any other number is rounded to its last digit."""
SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
CLAUSE = re.compile(r",\s|\s(?:and|but|while|with|whereas|so|or)\s|[():]")
OPPOSITE = re.compile(r"\b(?:unlikely|dry|avoid\w*|fails?|holds? off|instead)\b", re.IGNORECASE)
"""Words that turn a probability into that of the opposite."""
NEGATION = re.compile(
    r"\b(?:no|not|never|none|nor|neither|without|cannot|against)\b|n['\u2019]t\b", re.IGNORECASE
)
WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Claim:
    """A number or date in a text, and what is wrong with it; empty if it is true."""

    start: int
    end: int
    wrong: str = ""
    target: str = ""
    """The part of the forecast that it states."""


@dataclass(frozen=True)
class Verdict:
    """The result of checking a text."""

    text: str
    claims: tuple[Claim, ...]
    missing: tuple[str, ...]
    """The parts of the forecast that it does not state."""

    @property
    def verified(self) -> bool:
        """Whether the text states the whole forecast, and no number that is not in it."""
        return not self.reasons

    @property
    def reasons(self) -> list[str]:
        """The reasons to reject the text."""
        wrong = [f"{self.text[one.start : one.end]!r} {one.wrong}" for one in self.false]
        return wrong + [f"it does not state {name}" for name in self.missing]

    @property
    def false(self) -> list[Claim]:
        """The claims that are false or cannot be verified."""
        return [one for one in self.claims if one.wrong]

    @property
    def marked(self) -> str:
        """The text, with the claims that are not verified marked."""
        text = self.text
        for one in reversed(self.false):
            text = (
                f"{text[: one.start]}[{text[one.start : one.end]}: not verified]{text[one.end :]}"
            )
        return text


def check(text: str, forecast: Forecast) -> Verdict:
    """Compare every number and date in a text with the forecast."""
    found = sorted(Check(text, forecast).claims(), key=lambda one: one.start)
    said = {one.target for one in found}
    missing = tuple(label(name) for name in forecast.prediction if name not in said)
    return Verdict(text, tuple(found), missing)


def label(name: str) -> str:
    return name.replace("_", " ").strip()


class Check:
    """One text and one forecast."""

    def __init__(self, text: str, forecast: Forecast) -> None:
        self.text, self.forecast = text, forecast
        names = [re.escape(form) for name in forecast.prediction for form in (name, label(name))]
        named = re.finditer(rf"\b(?:{'|'.join(names)})\b", text, re.IGNORECASE)
        self.plain = blanked(text, [match.span() for match in named])
        self.days = list(days(self.plain))
        self.undated = blanked(self.plain, [(day.start, day.end) for day in self.days])

    def claims(self) -> Iterator[Claim]:
        """Return every number and every date, with what is wrong with it."""
        units = Units(self.forecast.units[name] for name in self.forecast.prediction)
        return chain(map(self.of_day, self.days), map(self.of_figure, figures(self.undated, units)))

    def of_day(self, day: Day) -> Claim:
        """Compare a date with that of the forecast."""
        key: object = self.forecast.target_key
        true = isinstance(key, dt.date) and day.is_of(key)
        return Claim(day.start, day.end, "" if true else f"is not the forecast period: {key}")

    def of_figure(self, figure: Figure) -> Claim:
        """Compare a number with the forecasts of its dimension."""
        if figure.unit is None and str(self.forecast.target_key) == self.said(figure):
            return Claim(figure.start, figure.end)
        equal = [name for name in self.forecast.prediction if self.equals(figure, name)]
        wrong = self.wrong(figure, equal)
        target = "" if wrong else next(name for name in equal if self.is_named(figure, name))
        return Claim(figure.start, figure.end, wrong, target)

    def said(self, figure: Figure) -> str:
        return self.text[figure.start : figure.end]

    def equals(self, figure: Figure, name: str) -> bool:
        """Return whether a number is a target's forecast, in any unit of its dimension."""
        value, unit = self.forecast.prediction[name], of(self.forecast.units[name])
        if figure.value is None:
            return False
        written = figure.unit or self.unwritten(figure, name)
        if written is None or written.dimension != unit.dimension:
            return False
        step = max(figure.step, ABOUT.get(written.name, 0) if figure.about else 0)
        return abs(unit.within(value, written) - figure.value) <= HALF * step

    def unwritten(self, figure: Figure, name: str) -> Unit | None:
        """Return the unit of a number without one: 0.73 may be a probability, 5.6 cannot."""
        unit = of(self.forecast.units[name])
        exact = figure.step < 1 or figure.value == self.forecast.prediction[name]
        return unit if unit.name in (PROBABILITY, "") and exact else None

    def wrong(self, figure: Figure, equal: Sequence[str]) -> str:
        """Return what is wrong with a number that equals these forecasts."""
        if not equal:
            return "is not a number in the forecast"
        if figure.bound:
            return "is the forecast, not the end of a range"
        if not any(self.is_named(figure, name) for name in equal):
            names = " or ".join(map(label, equal))
            return f"is the forecast of {names}, which is not named next to it"
        probable = any(self.forecast.units[name] == PROBABILITY for name in equal)
        sentence = self.around(SENTENCE, figure, self.plain)
        if probable and (NEGATION.search(sentence) or OPPOSITE.search(sentence)):
            return "is the probability of the event, but may be attributed to the opposite"
        if NEGATION.search(sentence):
            return "is in a negated sentence"
        return ""

    def is_named(self, figure: Figure, name: str) -> bool:
        """Return whether the text makes clear to which target a number belongs.

        Its sentence has to contain a word of the target's name, or one that begins like it:
        temperature for temp. With another target of such a unit, its clause has to, without a word
        of that name.
        """
        rivals = [other for other in self.forecast.prediction if self.rivals(name, other)]
        place = self.around(CLAUSE if rivals else SENTENCE, figure, self.text)
        words = [word.lower() for word in WORD.findall(place)]
        others = {word for other in rivals for word in parts(other)} - parts(name)
        if any(begins(words, word) for word in others):
            return False
        own = parts(name) - {word for other in rivals for word in parts(other)}
        own = own or parts(name)
        return any(begins(words, word) for word in own)

    def rivals(self, name: str, other: str) -> bool:
        """Return whether two targets have the same dimension."""
        kinds = [of(self.forecast.units[one]).dimension for one in (name, other)]
        return name != other and kinds[0] == kinds[1]

    def around(self, border: re.Pattern[str], figure: Figure, text: str) -> str:
        """Return the part of a text between borders or ends of sentences that holds a number."""
        borders = [*border.finditer(text), *SENTENCE.finditer(text)]
        start = max([0, *(one.end() for one in borders if one.end() <= figure.start)])
        end = min([len(text), *(one.start() for one in borders if one.start() >= figure.end)])
        return text[start:end]


def parts(name: str) -> set[str]:
    return {word.lower() for word in WORD.findall(name.replace("_", " "))}


def begins(words: Sequence[str], beginning: str) -> bool:
    return any(word.startswith(beginning) for word in words)
