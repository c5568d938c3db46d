import pytest
from sqlalchemy import Engine

from .. import predictions
from ..artifacts import Metadata
from ..database import transaction
from ..forecasting import Forecast
from ..observations import key_of, store
from ..problem import HORIZON, TARGETS, step
from ..samples import truths
from .conftest import example_rows
from .test_artifacts import metadata

ROWS = example_rows(3)
MADE = [
    Forecast(
        key=key_of(row),
        target_key=step(key_of(row), HORIZON),
        prediction={target.name: 0.5 for target in TARGETS},
    )
    for row in ROWS
]
OTHER: Metadata = metadata().model_copy(update={"tier": "tier2", "version": "v3.0"})


@pytest.fixture
def logged(engine: Engine) -> Engine:
    with transaction(engine) as connection:
        predictions.log(connection, metadata(), MADE, "backtest")
        predictions.log(connection, OTHER, MADE[:1], "api", cached=True)
    return engine


def test_a_log_entry_has_a_number_of_its_own(logged: Engine) -> None:
    with transaction(logged) as connection:
        first, _ = predictions.log(connection, OTHER, MADE[:1], "api")
        second, _ = predictions.log(connection, OTHER, MADE[:1], "api")
        assert (first, second) == (5, 6)


def test_the_newest_come_first_as_they_were_made(logged: Engine) -> None:
    with transaction(logged) as connection:
        every = predictions.newest(connection, None, None, 10)
    assert [one.id for one in every] == [4, 3, 2, 1]
    assert [one.key for one in every[1:]] == [made.key for made in MADE[::-1]]
    assert [one.prediction for one in every[1:]] == [made.prediction for made in MADE[::-1]]
    assert (every[0].tier, every[0].version, every[0].source) == ("tier2", "v3.0", "api")
    assert every[0].created_at.tzinfo is not None


def test_forecasts_are_chosen_by_tier_source_and_number(logged: Engine) -> None:
    with transaction(logged) as connection:
        assert len(predictions.newest(connection, None, None, 2)) == 2
        assert len(predictions.newest(connection, "tier1", None, 10)) == 3
        assert len(predictions.newest(connection, None, "api", 10)) == 1
        assert predictions.newest(connection, "tier1", "api", 10) == []


def test_the_outcome_is_there_as_soon_as_the_row_is(logged: Engine) -> None:
    row = ROWS[-1]
    about = step(key_of(row), -HORIZON)
    with transaction(logged) as connection:
        assert {one.outcome for one in predictions.newest(connection, None, None, 10)} == {None}
        store(connection, [row])
        every = predictions.newest(connection, "tier1", None, 10)
    assert {one.key: one.outcome for one in every if one.outcome} == {about: truths(row)}


def test_a_backtest_is_of_a_tier_and_a_version(logged: Engine) -> None:
    newer = metadata().model_copy(update={"version": "v1.1"})
    with transaction(logged) as connection:
        assert predictions.has_backtest(connection, metadata())
        assert not predictions.has_backtest(connection, newer)
        assert not predictions.has_backtest(connection, OTHER)
