import datetime as dt

import pytest

from ..figures import days, figures
from ..units import Units


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5.6 and 1,234.5 and 5,6", [5.6, 1234.5, 5.6]),
        ("-5, \u22125, minus 5, 4-5", [-5, -5, -5, 4, 5]),
        ("- 5 mm", [5]),
        ("seventy-three percent, seventy three", [73, 73]),
        ("minus five degrees", [-5]),
        ("a hundred, zero", [100, 0]),
        ("one can hope, no one knows", []),
        ("one in four", [1, 4]),
        ("one percent", [1]),
        ("3/4, twice, half, 10:30, ¾, 5th, 1e3, 2x", [None] * 8),
        ("two thirds", [2, None]),
        ("10²", [10, None]),
        ("no number", []),
    ],
)
def test_numbers_are_found_however_they_are_written(text: str, values: list[float | None]) -> None:
    assert [figure.value for figure in figures(text, Units(["°C"]))] == values


def test_the_digits_of_a_unit_are_no_number() -> None:
    (figure,) = figures("5 W/m²", Units(["W/m²"]))
    assert (figure.value, figure.unit and figure.unit.name) == (5, "W/m²")


@pytest.mark.parametrize("text", ["over 5 mm", "5 mm or more", "5+", ">5 mm", "5 to 6 mm", "5-6"])
def test_ends_of_ranges_are_noticed(text: str) -> None:
    assert next(figures(text, Units(["mm"]))).bound


def test_a_rounded_number_is_noticed() -> None:
    assert [one.about for one in figures("about 5, ~6, exactly 7", Units([]))] == [1, 1, 0]


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("2016-01-01", True),
        ("1 January 2016", True),
        ("1st of January", True),
        ("Jan. 1, 2016", True),
        ("January 2016", True),
        ("Friday", True),
        ("2 January 2016", False),
        ("1 January 2015", False),
        ("Saturday", False),
    ],
)
def test_dates_are_compared_in_all_that_they_say(text: str, *, true: bool) -> None:
    (day,) = days(f"On {text}, rain.")
    assert day.is_of(dt.date(2016, 1, 1)) is true


def test_a_word_like_a_month_is_no_date() -> None:
    assert list(days("It may rain; march on, 5 decibels")) == []
