import datetime as dt
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ...shared.tests.conftest import refused
from ..errors import absolute_scaled, covered, naive_error, pinball
from ..features import NAMES, table
from ..fitting import FACTS, forecasts, read, train
from ..folds import default_size, fold, rolling
from ..forecasters import BASELINES, fitting, naive, seasonal_naive
from ..paths import predict
from ..points import Point
from ..series import Floats, Series
from ..work import Work
from ..writing import replace_table
from .conftest import make_work

FIRST = dt.date(2020, 1, 6)  # a Monday


def values(count: int = 170) -> Floats:
    """Return a yearly wave with noise."""
    weeks = np.arange(count)
    noise = np.random.default_rng(7).normal(size=count)
    found: Floats = np.round(15 + 10 * np.sin(2 * np.pi * weeks / 52) + noise, 1)
    return found


def series(work: Work, held: Floats) -> Series:
    points = [Point(work.later(FIRST, n), float(value)) for n, value in enumerate(held)]
    rows = table(points)
    nothing = np.nan
    found = [[nothing if one is None else float(str(one)) for one in row[2:-2]] for row in rows]
    return Series(work, [point.date for point in points], held, np.array(found))


@pytest.mark.parametrize("name", ["gbm", *BASELINES])
def test_no_forecast_knows_what_comes_after_its_origin(work: Work, name: str) -> None:
    held = values()
    changed = held.copy()
    changed[140:] = 40.0
    before, after = series(work, held), series(work, changed)
    fitted = {"gbm": fitting("gbm"), **BASELINES}[name](before.known(130), 3, 1)
    same, other = fitted(before, range(125, 150)), fitted(after, range(125, 150))
    assert np.array_equal(same[:15], other[:15])
    again = {"gbm": fitting("gbm"), **BASELINES}[name](after.known(130), 3, 1)
    assert np.array_equal(again(after, [139]), same[14:15])
    assert same.shape == (25, 3, 3)
    assert (np.diff(same, axis=-1) >= 0).all()


def test_a_fold_is_fitted_to_what_its_first_origin_knows(work: Work) -> None:
    held = values()
    changed = held.copy()
    changed[141:] = 0.0
    one = fold(series(work, held), range(140, 160), "gbm", 2, 1)
    other = fold(series(work, changed), range(140, 160), "gbm", 2, 1)
    assert one.scale == other.scale
    for name, made in one.forecasts.items():
        assert np.array_equal(made[0], other.forecasts[name][0])
    assert one.truths[:, 0].tolist() == held[141:161].tolist()


def test_naive_is_the_last_value_and_what_changes_were(work: Work) -> None:
    line = series(work, np.arange(60.0))
    found = naive(line, 2, 0)(line, [59])[0]
    assert found.tolist() == [[59, 59, 60], [59, 59, 61]] or found.tolist() == [
        [59, 60, 60],
        [59, 61, 61],
    ]


def test_seasonal_naive_is_the_value_of_a_year_before(work: Work) -> None:
    held = np.tile(np.arange(52.0), 3)
    wave = series(work, held)
    found = seasonal_naive(wave, 55, 0)(wave, [155])[0]
    assert found[:, 1].tolist() == [*np.arange(52.0), 0, 1, 2]
    assert "needs 58" in refused(lambda: seasonal_naive(wave.known(57), 1, 0))


def test_no_rain_is_less_than_none(tmp_path: Path) -> None:
    work = make_work(tmp_path, "precipitation")
    wet = series(work, np.where(np.arange(120) % 3 == 0, 20.0, 0.0))
    for fit in (fitting("gbm"), *BASELINES.values()):
        assert fit(wet, 3, 1)(wet, [118, 119]).min() >= 0


def test_measures_are_those_of_their_papers() -> None:
    forecasts, truths = np.array([[[8.0, 10.0, 13.0]]]), np.array([[12.0]])
    assert absolute_scaled(forecasts, truths, 4.0).tolist() == [[0.5]]
    assert pinball(forecasts, truths)[0, 0] == pytest.approx((0.1 * 4 + 0.5 * 2 + 0.1 * 1) / 3)
    assert covered(forecasts, truths).tolist() == [[1.0]]
    assert covered(forecasts, truths + 2).tolist() == [[0.0]]
    assert naive_error(np.array([1.0, 3.0, 2.0])) == 1.5
    assert naive_error(np.array([5.0, 5.0])) == 1.0


@given(st.integers(1, 8), st.integers(1, 60), st.integers(1, 14), st.integers(30, 500))
def test_folds_follow_each_other_up_to_the_last_whole_path(
    folds: int, size: int, horizon: int, periods: int
) -> None:
    if periods - horizon - folds * size < 1:
        assert "reduce --folds" in refused(lambda: rolling(periods, folds, size, horizon))
        return
    found = rolling(periods, folds, size, horizon)
    flat = [origin for one in found for origin in one]
    assert len(found) == folds
    assert flat == list(range(flat[0], flat[0] + folds * size))
    assert flat[-1] + horizon == periods - 1


def test_a_fold_has_as_many_origins_as_there_is_room_for() -> None:
    assert default_size(1461, 5, 7) == 60
    assert default_size(208, 5, 7) == 15
    assert default_size(30, 20, 7) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = make_work(tmp_path_factory.mktemp("trained"))
    points = [Point(work.later(FIRST, n), float(value)) for n, value in enumerate(values())]
    replace_table(work.path("data/features.csv"), NAMES, table(points))
    train(work, Namespace(model="gbm", horizon=3, seed=1))
    return work


def test_the_metadata_say_what_the_model_is(trained: Work) -> None:
    facts = json.loads(trained.path(FACTS).read_text())
    assert facts["inputs"][-3:] == ["step", "target_season_sin", "target_season_cos"]
    assert facts["quantiles"] == {"q10": 0.1, "q50": 0.5, "q90": 0.9}
    assert facts["fitted"] == {"count": 170, "first": "2020-01-06", "last": "2023-04-03"}
    measured = facts["held_out"]["forecasters"]["gbm"]
    assert measured["mase"] < facts["held_out"]["forecasters"]["naive"]["mase"]
    assert {"data_sha256", "code_sha256", "libraries", "sha256", "seed"} <= set(facts)


def test_the_path_begins_after_the_last_value(trained: Work) -> None:
    predict(trained, Namespace(horizon=2))
    lines = trained.path("artifacts/predictions.csv").read_text().splitlines()
    assert lines[0] == "forecaster,origin,step,date,q10,q50,q90"
    assert [line.split(",")[0] for line in lines[1:]] == [
        name for name in ("gbm", *BASELINES) for _ in range(2)
    ]
    assert lines[1].startswith("gbm,2023-04-03,1,2023-04-10,")


def test_a_longer_path_needs_another_model(trained: Work) -> None:
    message = refused(lambda: predict(trained, Namespace(horizon=4)))
    assert message.endswith("train --horizon 4")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("inputs", [], "other features"),
        ("series", "wind", "another series"),
        ("sha256", "0", "is not the model"),
    ],
)
def test_a_model_of_something_else_is_not_used(
    trained: Work, key: str, value: object, said: str
) -> None:
    file = trained.path(FACTS)
    text = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(text), key: value}))
        assert said in refused(lambda: read(trained, 1))
    finally:
        file.write_text(text)


def test_a_file_that_is_no_model_is_refused(trained: Work) -> None:
    held = series(trained, values())
    message = refused(lambda: forecasts("gbm", b"cos\nsystem\n(S'true'\ntR.", held, [169], 1))
    assert "not a model of this pipeline" in message


def test_too_few_rows_to_fit_to_are_refused(work: Work) -> None:
    short = series(work, values(50))
    assert "30 are needed" in refused(lambda: fitting("gbm")(short, 1, 1))
