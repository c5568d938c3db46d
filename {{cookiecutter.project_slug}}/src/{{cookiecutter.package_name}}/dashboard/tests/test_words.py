import datetime as dt

import pytest

from ..scores import OutcomePair
from ..words import (
    describe_baselines,
    describe_score,
    escape_markdown,
    format_key,
    format_time,
    format_value,
    history_table,
    metric_table,
    target_title,
)
from .fake_api import make_forecast, make_target


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (0.734, "probability", "73%"),
        (1.0, "probability", "100%"),
        (8.93, "quantity", "8.9 °C"),
        (-0.04, "quantity", "-0.04 °C"),
        (0.0, "quantity", "0.0 °C"),
        (12345.6, "quantity", "12,345.6 °C"),
    ],
)
def test_a_value_has_its_unit(value: float, kind: str, words: str) -> None:
    assert format_value(value, make_target(kind)) == words


def test_a_quantity_without_a_unit_is_a_bare_number() -> None:
    assert format_value(152.13, make_target("quantity", unit="")) == "152.1"
    assert target_title(make_target("quantity", unit="")) == "Temp max"


def test_the_title_of_a_quantity_has_its_unit() -> None:
    assert target_title(make_target("quantity")) == "Temp max (°C)"
    assert target_title(make_target("probability", unit="probability")) == "Temp max"


def test_dates_and_times_are_spelled_out() -> None:
    assert format_key("2016-01-01") == "Friday 1 January 2016"
    assert format_key(440) == "440"
    assert format_time(dt.datetime(2026, 11, 2, 5, 7, tzinfo=dt.UTC)) == "2 Nov 2026, 05:07 UTC"


def test_metrics_stand_beside_those_of_the_baselines() -> None:
    baselines = {"climatology": {"mae": 2.5}, "persistence": {"mae": None}}
    assert metric_table(make_target("quantity", baselines=baselines)) == [
        {
            "Metric": "Mean absolute error",
            "Model": "1.250",
            "Climatology": "2.500",
            "Persistence": "n/a",
        }
    ]


def test_a_model_that_is_no_better_than_its_baselines_is_shown_with_the_scores() -> None:
    assert "Better than every baseline on temp max." in describe_baselines(make_target("quantity"))
    worse = describe_baselines(make_target("quantity", beats_baselines=False))
    assert "**Not better than every baseline on temp max**" in worse
    assert worse.endswith("mean absolute error 1.250, mean 2.500.")


def test_past_forecasts_are_scored() -> None:
    probabilities, quantities = [OutcomePair(0.5, 1), OutcomePair(0.5, 0)], [OutcomePair(3, 1)]
    event, quantity = make_target("probability"), make_target("quantity")
    assert describe_score(probabilities, event) == "Brier score 0.250 (2 known outcomes)"
    assert describe_score(quantities, quantity) == "mean absolute error 2.0 °C (1 known outcome)"
    assert describe_score([], quantity) == "no outcome known yet"


def test_past_forecasts_as_a_table() -> None:
    event = make_target("probability", name="rain")
    assert history_table([make_forecast("2016-01-01", 0.734)], event) == [
        {"For": "Friday 1 January 2016", "Forecast": "73%", "Outcome": "Not yet known"}
    ]
    quantity = make_target("quantity", name="rain", unit="mm")
    assert history_table([make_forecast(7, 3.0, 2.5)], quantity) == [
        {"For": "7", "Forecast": "3.0 mm", "Outcome": "2.5 mm"}
    ]


def test_markdown_in_text_from_outside_is_escaped() -> None:
    assert escape_markdown("a_b *c* [d](e)") == r"a\_b \*c\* \[d\](e)"
