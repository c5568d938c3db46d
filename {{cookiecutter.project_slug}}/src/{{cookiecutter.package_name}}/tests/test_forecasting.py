from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine

from ..database import make_engine, transaction
from ..forecasting import HistoryError, forecast, forecasts, history
from ..observations import key_of, newest, store
from ..problem import HISTORY, HORIZON, TARGETS, TIERS, step
from ..samples import features, samples
from ..schemas import PredictRequest
from ..serving import load as load_model
from ..settings import ApiSettings
from ..shared.tests.conftest import refused
from .conftest import example_rows

ROWS = example_rows(HISTORY + 3)
TIER = next(iter(TIERS))


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with transaction(engine) as opened:
        store(opened, ROWS)
        yield opened


def test_the_newest_rows_are_used_where_none_are_named(connection: Connection) -> None:
    assert history(connection, PredictRequest()) == ROWS[-HISTORY:]


def test_the_rows_up_to_a_key_are_used(connection: Connection) -> None:
    asked = PredictRequest(at=key_of(ROWS[-3]))
    assert history(connection, asked) == ROWS[-HISTORY - 2 : -2]


def test_rows_of_the_request_are_used_as_they_are(connection: Connection) -> None:
    own = example_rows(HISTORY)
    assert history(connection, PredictRequest(observations=own)) == own


def test_a_key_without_a_row_is_refused(connection: Connection) -> None:
    key = step(key_of(ROWS[-1]), 1)
    message = refused(lambda: history(connection, PredictRequest(at=key)), HistoryError)
    assert message == f"there is no observation of {key}"


def test_an_empty_database_is_refused(engine: Engine) -> None:
    with transaction(engine) as connection:
        message = refused(lambda: history(connection, PredictRequest()), HistoryError)
    assert message == f"{HISTORY} observations without a gap are needed: there are 0"


@pytest.mark.skipif(HISTORY == 1, reason="a history of one row has no gap")
def test_a_gap_in_the_history_is_refused(engine: Engine) -> None:
    with transaction(engine) as connection:
        store(connection, [*ROWS[:-2], ROWS[-1]])
        message = refused(lambda: history(connection, PredictRequest()), HistoryError)
    assert message.endswith(
        f"are needed up to {key_of(ROWS[-1])}: there is none of {key_of(ROWS[-2])}"
    )


def test_a_forecast_is_the_model_s_for_the_row_after(settings: ApiSettings) -> None:
    model = load_model(settings, TIER)
    made = forecast(model, ROWS[-HISTORY:])
    assert made.key == key_of(ROWS[-1])
    assert made.target_key == step(key_of(ROWS[-1]), HORIZON)
    [outputs] = [model.predict(features(ROWS[-HISTORY:])[None])]
    for target in TARGETS:
        assert made.prediction[target.name] == pytest.approx(outputs[target.name][0], rel=1e-5)


def test_many_forecasts_are_each_as_one_alone(settings: ApiSettings) -> None:
    model = load_model(settings, TIER)
    with transaction(make_engine(settings.database_url)) as connection:
        rows = newest(connection, HISTORY + HORIZON + 4)
    every = samples(rows)
    made = forecasts(model, every.newest, every.features)
    assert made == [forecast(model, rows[n : n + HISTORY]) for n in range(len(every))]
