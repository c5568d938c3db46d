import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .. import wording
from ..checking import check
from ..kinds import Forecast

SUFFIX = "Temp max 5.6 °C."


@pytest.mark.parametrize(
    "text",
    [
        "There is a 73% probability of rain, and the temperature will reach 5.6 degrees Celsius.",
        "On Friday, 1 January 2016, rain has a 73 % chance; the maximum temperature is 6 °C.",
        "Seventy-three percent rain. The temperature is 42.1 °F.",
        "About 75 % rain, temperature about 6 degrees.",
        "Probability of rain 0.73, temp max 5.63°C.",
        "One can expect rain (73.4 %). Temp max is 278.8 K.",
    ],
)
def test_true_numbers_are_verified(text: str, forecast: Forecast) -> None:
    verdict = check(text, forecast)
    assert verdict.verified, verdict.reasons
    assert verdict.marked == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"Rain 37 %. {SUFFIX}", "'37 %' is not a number in the forecast"),
        (f"Rain 70 %. {SUFFIX}", "'70 %' is not a number in the forecast"),
        (f"Rain about 70 %. {SUFFIX}", "'70 %' is not a number in the forecast"),
        (f"Rain 73.0 %. {SUFFIX}", "'73.0 %' is not a number in the forecast"),
        (f"Rain 73 mm. {SUFFIX}", "'73 mm' is not a number in the forecast"),
        (f"Rain 73. {SUFFIX}", "'73' is not a number in the forecast"),
        (f"A chance of rain of 1. {SUFFIX}", "'1' is not a number in the forecast"),
        (f"Rain 73 %, dry 27 %. {SUFFIX}", "'27 %' is not a number in the forecast"),
        (f"Rain in three of four cases. {SUFFIX}", "'three' is not a number in the forecast"),
        (f"Rain 73 %, wind 3.5 m/s. {SUFFIX}", "'3.5 m/s' is not a number in the forecast"),
        (f"Rain 73 %, and twice that. {SUFFIX}", "'twice' is not a number in the forecast"),
        (f"Rain over 73 %. {SUFFIX}", "'73 %' is the forecast, not the end of a range"),
        (f"A 73 % chance of snow. {SUFFIX}", "'73 %' is the forecast of rain, which is not named"),
        (f"A 73 % chance of no rain. {SUFFIX}", "may be attributed to the opposite"),
        (f"It won't rain (73 %). {SUFFIX}", "may be attributed to the opposite"),
        (f"On Saturday rain 73 %. {SUFFIX}", "'Saturday' is not the forecast period: 2016-01-01"),
        (f"On 2 January rain 73 %. {SUFFIX}", "'2 January' is not the forecast period: 2016-01-01"),
        ("Rain 73 %, temp max 5.6 °F.", "'5.6 °F' is not a number in the forecast"),
        ("Rain 73 %, temp max -5.6 °C.", "'-5.6 °C' is not a number in the forecast"),
        ("Rain 73 %, temp max 5.6.", "'5.6' is not a number in the forecast"),
        ("Rain 73 %, temp max \u2013 5.6 °C.", "is not a number in the forecast"),
        ("Rain 73 %, temp max negative 5.6 °C.", "is not a number in the forecast"),
        ("Rain 73 %, temp max 5.6 °C below freezing.", "not the end of a range"),
        ("Rain 73 %, temp max colder than 5.6 °C.", "not the end of a range"),
        ("Rain 73 %, temp max drops by 5.6 °C.", "not the end of a range"),
        ("Rain 73 %. Temp max is not 5.6 °C.", "is in a negated sentence"),
        (f"Rain is unlikely: 73 % it stays dry. {SUFFIX}", "may be attributed to the opposite"),
        ("Rain 73 %.", "it does not state temp max"),
        ("It will be fine.", "it does not state rain"),
    ],
)
def test_what_is_not_surely_true_is_refused(text: str, reason: str, forecast: Forecast) -> None:
    verdict = check(text, forecast)
    assert any(reason in one for one in verdict.reasons), verdict.reasons


def test_what_is_refused_is_marked(forecast: Forecast) -> None:
    marked = check("Rain 37 %, temp max 5.6 °C, wind 4.", forecast).marked
    assert marked == "Rain [37 %: not verified], temp max 5.6 °C, wind [4: not verified]."


BOTH = Forecast.model_validate(
    {
        "target_key": "2016-01-01",
        "prediction": {"temp_max": 9.0, "temp_min": 2.0},
        "units": {"temp_max": "°C", "temp_min": "°C"},
    }
)


@pytest.mark.parametrize(
    ("text", "verified"),
    [
        ("The maximum is 9 °C and the minimum 2 °C.", True),
        ("Temp max 9 °C, temp min 2 °C.", True),
        ("The maximum is 2 °C and the minimum 9 °C.", False),
        ("The maximum and minimum are 9 °C, 2 °C.", False),
        ("Temperatures are 9 °C and 2 °C.", False),
    ],
)
def test_numbers_of_one_unit_are_not_exchanged(text: str, *, verified: bool) -> None:
    assert check(text, BOTH).verified is verified


def test_keys_and_names_with_digits_are_no_numbers_of_their_own() -> None:
    forecast = Forecast.model_construct(
        target_key=366, prediction={"pm25": 12.0}, units={"pm25": "µg/m³"}
    )
    assert check("In row 366, pm25 is 12 µg/m³.", forecast).verified
    assert not check("In row 367, pm25 is 12 µg/m³.", forecast).verified


units = st.sampled_from(["probability", "°C", "mm", "m/s", "MW", ""])
names = st.sampled_from(["rain", "temp_max", "temp_min", "wind", "pm25", "load"])


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    held = {name: draw(units) for name in chosen}
    prediction = {
        name: draw(st.floats(0, 1) if unit == "probability" else st.floats(-1e5, 1e5))
        for name, unit in held.items()
    }
    key = draw(st.dates(dt.date(1000, 1, 1)))
    return Forecast.model_validate({"target_key": key, "prediction": prediction, "units": held})


@given(forecasts())
def test_what_is_said_without_a_model_is_true(forecast: Forecast) -> None:
    if any(not unit for unit in forecast.units.values()):
        return  # a whole number without a unit is taken for nothing
    verdict = check(wording.template(forecast), forecast)
    assert verdict.verified, (verdict.text, verdict.reasons)
