from ..api_types import ForecastRecord
from ..client import newest_per_key
from .fake_api import make_forecast


def test_the_newest_forecast_for_a_key_counts() -> None:
    history = [make_forecast("b", 0.2), make_forecast("a", 0.3), make_forecast("b", 0.4)]
    newest = newest_per_key(history)
    assert [(each.forecast_key, each.prediction["rain"]) for each in newest] == [
        ("b", 0.2),
        ("a", 0.3),
    ]


def test_without_a_horizon_a_forecast_is_for_its_own_key() -> None:
    assert ForecastRecord(key=7, prediction={}).forecast_key == 7
