import pytest

from .. import units
from ..units import Units


@pytest.mark.parametrize(
    ("value", "unit", "other", "expected"),
    [
        (12.7, "°C", "°F", 54.86),
        (-40, "°F", "°C", -40),
        (20, "°C", "K", 293.15),
        (25.4, "mm", "in", 1),
        (3.6, "km/h", "m/s", 1),
        (10, "m/s", "kn", 19.438),
        (10, "m/s", "mph", 22.369),
        (0.73, "probability", "%", 73),
    ],
)
def test_a_quantity_is_the_same_in_another_unit(
    value: float, unit: str, other: str, expected: float
) -> None:
    assert units.of(unit).within(value, units.of(other)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("5 °C", "°C"),
        ("5°C", "°C"),
        ("5 degrees", "°C"),
        ("5 degrees Fahrenheit today", "°F"),
        ("5 %", "%"),
        ("5 percent.", "%"),
        ("5-percent chance", "%"),
        ("5 m/s", "m/s"),
        ("5 metres per second", "m/s"),
        ("5 m", "m"),
        ("5 MW", "MW"),
        ("5 mowers", None),
        ("5", None),
        ("5 in the morning", None),
    ],
)
def test_the_longest_unit_after_a_number_counts(text: str, name: str | None) -> None:
    unit, _ = Units(["°C", "MW"]).after(text, 1)
    assert (unit and unit.name) == name


def test_an_unknown_unit_is_no_other() -> None:
    assert units.of("MW").dimension != units.of("GW").dimension
