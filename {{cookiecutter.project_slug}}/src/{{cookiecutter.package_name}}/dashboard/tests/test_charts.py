from ..charts import all_dates, event_rows, quantity_rows
from .fake_api import make_forecast


def test_rows_are_oldest_first_and_dates_are_the_readers_own() -> None:
    history = [
        make_forecast("2016-01-02", 0.9),
        make_forecast("2016-01-01", 0.2, 1),
        make_forecast("2015-12-31", 0.3, 0),
    ]
    rows = event_rows(history, "rain")
    assert rows[0] == {"key": "2015-12-31T00:00:00", "Forecast": 0.3, "Outcome": "Did not happen"}
    assert [row["Outcome"] for row in rows[1:]] == ["Happened", "Not yet known"]
    assert all_dates(rows)


def test_keys_other_than_dates_are_names() -> None:
    rows = quantity_rows([make_forecast(12, 0.9), make_forecast(11, 0.2, 0.5)], "rain")
    assert [(row["key"], row["series"], row["value"]) for row in rows] == [
        (11, "Forecast", 0.2),
        (11, "Outcome", 0.5),
        (12, "Forecast", 0.9),
    ]
    assert not all_dates(rows)
