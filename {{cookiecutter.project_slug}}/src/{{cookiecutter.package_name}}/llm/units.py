"""Units of measurement, their spellings, and conversions."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .kinds import PROBABILITY

PERCENT = "%"


@dataclass(frozen=True)
class Unit:
    """A unit: a value times `scale`, plus `offset`, is in its dimension's first unit."""

    name: str
    dimension: str
    scale: float = 1.0
    offset: float = 0.0

    def within(self, value: float, other: "Unit") -> float:
        return (value * self.scale + self.offset - other.offset) / other.scale


TEMPERATURE = "temperature"
TABLE: Mapping[Unit, str] = {
    Unit(PROBABILITY, PROBABILITY): "",
    Unit(PERCENT, PROBABILITY, 0.01): "%|percent|per cent|percentage points?",
    Unit("°C", TEMPERATURE): "°C|° C|C|degrees? C|degrees? Celsius|Celsius",
    Unit("°F", TEMPERATURE, 5 / 9, -160 / 9): "°F|° F|F|degrees? F|degrees? Fahrenheit|Fahrenheit",
    Unit("K", TEMPERATURE, 1, -273.15): "K|kelvins?",
    Unit("mm", "length"): "mm|millimet(?:re|er)s?",
    Unit("cm", "length", 10): "cm|centimet(?:re|er)s?",
    Unit("m", "length", 1000): "m|met(?:re|er)s?",
    Unit("km", "length", 1e6): "km|kilomet(?:re|er)s?",
    Unit("in", "length", 25.4): "inch|inches",
    Unit("ft", "length", 304.8): "ft|feet|foot",
    Unit("m/s", "speed"): "m/s|met(?:re|er)s? (?:per|a) second",
    Unit("km/h", "speed", 1 / 3.6): "km/h|kph|kilomet(?:re|er)s? (?:per|an) hour",
    Unit("mph", "speed", 0.44704): "mph|miles? (?:per|an) hour",
    Unit("kn", "speed", 1852 / 3600): "kn|knots?",
    Unit("hPa", "pressure"): "hPa|mbar|hectopascals?|millibars?",
}
"""Every unit, with its spellings as parts of a regular expression.

The factors are those of the SI brochure (9th ed., 2019) and of its tables of other units.
"""
KNOWN = {unit.name: unit for unit in TABLE}
DEGREES = "°|degrees?"
"""Degrees without a scale: taken for those of the forecast."""


class Units:
    """The units that may occur in a text about some quantities."""

    def __init__(self, used: Iterable[str]) -> None:
        own = [of(name) for name in used]
        written = {unit: form for unit, form in TABLE.items() if form}
        written |= {unit: re.escape(unit.name) for unit in own if unit.name not in KNOWN}
        degrees = [(DEGREES, unit) for unit in own if unit.dimension == TEMPERATURE][:1]
        forms = [*((form, unit) for unit, form in written.items()), *degrees]
        # The longest match counts: "degrees Celsius" is more than degrees.
        self._forms = [
            (re.compile(rf"[\s-]?(?:{form})(?![\w/°%])", re.IGNORECASE), unit)
            for form, unit in forms
            if form.strip()
        ]

    def after(self, text: str, place: int) -> tuple[Unit | None, int]:
        """Return the unit at a position of a text, and where it ends."""
        found = [
            (match.end(), number)
            for number, (form, _) in enumerate(self._forms)
            if (match := form.match(text, place))
        ]
        if not found:
            return None, place
        end, number = max(found, key=lambda one: (one[0], -one[1]))
        return self._forms[number][1], end


def of(name: str) -> Unit:
    """Return the unit of that name; an unknown one is a dimension of its own."""
    return KNOWN.get(name, Unit(name, f"[{name}]"))
