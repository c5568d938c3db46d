"""The example problem: replaced together with problem.py."""

import datetime as dt
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from .. import artifacts
from ..problem import (
    EXAMPLE,
    FEATURES,
    HISTORY,
    TARGETS,
    TIERS,
    Observation,
    climatology,
    days_apart,
    persistence,
    step,
)
from ..samples import samples
from ..shared.definitions import Target
from ..shared.rowfiles import read
from ..shared.tests.conftest import refused
from ..training import fit
from .conftest import DATA, example_rows

RAIN, TEMP_MAX = TARGETS
GOOD = EXAMPLE.model_dump(mode="json")


@pytest.fixture(scope="module")
def days() -> list[Observation]:
    return read(DATA)


def test_the_data_is_four_years_without_a_gap(days: list[Observation]) -> None:
    assert len(days) == 1461
    assert (days[0].date, days[-1].date) == (dt.date(2012, 1, 1), dt.date(2015, 12, 31))
    assert days[-1] == EXAMPLE


@pytest.mark.parametrize("text", ["2012/03/04", "2012-03-04"])
def test_a_date_is_written_with_slashes_or_dashes(text: str) -> None:
    assert Observation.model_validate({**GOOD, "date": text}).date == dt.date(2012, 3, 4)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("date", "2012/13/01", "month value is outside expected range"),
        ("date", "2012/02/30", "day value is outside expected range"),
        ("date", "01/02/2012", "a date should be YYYY-MM-DD"),
        ("date", "20120101", "a date should be YYYY-MM-DD"),
        ("date", "3000-01-01", "less than 3000-01-01"),
        ("date", "2012-01/01", "a date should be YYYY-MM-DD"),
        ("precipitation", "-0.1", "greater than or equal to 0"),
        ("precipitation", "501", "less than or equal to 500"),
        ("precipitation", "nan", "finite number"),
        ("temp_max", "61", "less than or equal to 60"),
        ("temp_max", "inf", "finite number"),
        ("temp_min", "-61", "greater than or equal to -60"),
        ("temp_min", "cold", "valid number"),
        ("wind", "-1", "greater than or equal to 0"),
        ("wind", "101", "less than or equal to 100"),
        ("weather", "hail", "'drizzle', 'fog', 'rain', 'snow' or 'sun'"),
        ("weather", "Rain", "'drizzle', 'fog', 'rain', 'snow' or 'sun'"),
    ],
)
def test_a_bad_text_is_refused_by_its_column(column: str, value: str, reason: str) -> None:
    good = {name: str(text) for name, text in GOOD.items()}
    with pytest.raises(ValidationError) as caught:
        Observation.model_validate_strings({**good, column: value})
    [error] = caught.value.errors()
    assert error["loc"] == (column,)
    assert reason in error["msg"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("date", 15340, "a date should be YYYY-MM-DD"),
        ("wind", "3.5", "valid number"),
        ("wind", True, "valid number"),
        ("temp_max", math.nan, "finite number"),
    ],
)
def test_in_a_request_only_numbers_are_numbers(field: str, value: object, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Observation.model_validate({**GOOD, field: value})
    [error] = caught.value.errors()
    assert error["loc"] == (field,)
    assert reason in error["msg"]


def test_a_night_warmer_than_its_day_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "days.csv"
    file.write_text(
        "date,precipitation,temp_max,temp_min,wind,weather\n"
        "2012/01/01,0.0,12.8,5.0,4.7,drizzle\n"
        "2012/01/02,0.0,5.0,12.8,4.7,drizzle\n"
    )
    assert f"{file}:3: row: temp_min 12.8 is above temp_max 5.0" in refused(lambda: read(file))


def test_a_step_is_a_day_also_over_a_leap_day() -> None:
    assert step(dt.date(2012, 2, 28), 1) == dt.date(2012, 2, 29)
    assert step(dt.date(2012, 3, 1), -1) == dt.date(2012, 2, 29)


def test_features_are_what_their_names_say() -> None:
    days = [
        day.model_copy(
            update={
                "temp_max": 10.0 + number,
                "temp_min": 1.0 * number,
                "wind": 2.0 * number,
                "precipitation": 0.0 if number % 2 else math.e - 1,
            }
        )
        for number, day in enumerate(example_rows(HISTORY))
    ]
    values = {name: feature(days) for name, feature in FEATURES.items()}
    assert values == pytest.approx(
        {
            "season_sin": math.sin(2 * math.pi * 365 / 365.25),
            "season_cos": math.cos(2 * math.pi * 365 / 365.25),
            "temp_max": 16,
            "temp_min": 6,
            "temp_range": 10,
            "wind": 12,
            "rained": 1,
            "log_precipitation": 1,
            "temp_max_day_before": 15,
            "temp_min_day_before": 5,
            "wind_day_before": 10,
            "rained_day_before": 0,
            "temp_max_mean_3": 15,
            "temp_max_mean_7": 13,
            "rained_mean_7": 4 / 7,
            "log_precipitation_mean_3": 2 / 3,
        }
    )


def test_targets_are_read_from_a_day() -> None:
    wet = EXAMPLE.model_copy(update={"precipitation": 0.1})
    assert [RAIN.truth(wet), RAIN.truth(EXAMPLE), TEMP_MAX.truth(EXAMPLE)] == [1, 0, 5.6]


def test_persistence_forecasts_the_day_itself() -> None:
    wet = EXAMPLE.model_copy(update={"precipitation": 3.0, "temp_max": 8.0})
    assert persistence([], RAIN)(wet) == 1
    assert persistence([], TEMP_MAX)(wet) == 8


def test_climatology_is_the_mean_of_the_fifteen_days_on_each_side_of_tomorrow() -> None:
    """Of a year that is warm and wet for the 31 days around its 1 July."""
    middle = dt.date(2014, 7, 1)
    year = [
        EXAMPLE.model_copy(
            update={
                "date": day,
                "temp_max": 31.0 if abs((day - middle).days) <= 15 else 0.0,
                "precipitation": 1.0 if abs((day - middle).days) <= 15 else 0.0,
            }
        )
        for day in (dt.date(2014, 1, 1) + dt.timedelta(days=number) for number in range(365))
    ]
    day_before, that_day = (
        EXAMPLE.model_copy(update={"date": dt.date(2015, *day)}) for day in ((6, 30), (7, 1))
    )
    assert climatology(year, TEMP_MAX)(day_before) == pytest.approx(31)
    assert climatology(year, TEMP_MAX)(that_day) == pytest.approx(30)
    assert climatology(year, RAIN)(that_day) == pytest.approx(30 / 31)


def test_climatology_of_less_than_a_year_has_a_mean_for_the_rest() -> None:
    forecast = climatology(example_rows(10), TEMP_MAX)
    summer = EXAMPLE.model_copy(update={"date": dt.date(2016, 6, 30)})
    assert forecast(summer) == pytest.approx(EXAMPLE.temp_max)


def test_climatology_has_every_day_of_a_leap_year(days: list[Observation]) -> None:
    forecast = climatology(days[:1096], TEMP_MAX)
    winter = forecast(EXAMPLE.model_copy(update={"date": dt.date(2016, 12, 30)}))
    assert 3 < winter < 10


def test_days_are_apart_the_short_way_round() -> None:
    assert days_apart(dt.date(2013, 12, 31), 1) == 1
    assert days_apart(dt.date(2013, 1, 10), 5) == 5


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_another_seed_is_another_model(tier: str, target: Target[Observation]) -> None:
    every = samples(read(DATA)[:200])
    made = [fit(tier, target, every, seed).predict(every.features) for seed in (1, 1, 2)]
    assert (made[0] == made[1]).all()
    if target.kind == "quantity":
        assert (made[0] != made[2]).any()


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_beats_its_baselines_and_is_calibrated(prepared: Path, tier: str) -> None:
    metadata = artifacts.current(prepared / "models", tier)
    assert metadata
    assert metadata.beats_baselines == {"rain": True, "temp_max": True}
    assert metadata.metrics["rain"].model["ece"] <= 0.10
    assert metadata.duration_seconds < 30
