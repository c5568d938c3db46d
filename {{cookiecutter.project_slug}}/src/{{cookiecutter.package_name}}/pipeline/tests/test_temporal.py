import importlib.util
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from ...shared.tests.conftest import refused
from .. import temporal
from ..features import NAMES, table
from ..fitting import read, train
from ..folds import evaluate
from ..paths import predict
from ..points import Point
from ..series import load
from ..work import Work
from ..writing import replace_table
from .conftest import make_work
from .test_forecasters import FIRST, values

ASKED = Namespace(model="tft", horizon=3, seed=1, folds=1, fold_size=5)
installed = pytest.mark.skipif(
    not importlib.util.find_spec("pytorch_forecasting"), reason=temporal.NEEDED
)


@pytest.fixture
def known(tmp_path: Path) -> Work:
    work = make_work(tmp_path)
    points = [Point(work.later(FIRST, n), float(value)) for n, value in enumerate(values())]
    replace_table(work.path("data/features.csv"), NAMES, table(points))
    return work


def test_what_is_missing_is_told_with_what_to_type(
    known: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal, "find_spec", lambda _name: None)
    message = refused(lambda: evaluate(known, ASKED))
    assert message == (
        "--model tft needs torch, which is not installed: pip install -r services/pipeline/tft.txt"
    )


def test_nothing_of_the_future_goes_in(known: Work) -> None:
    series = load(known)
    before = temporal.inputs(series, [100, 169], 3)
    series.values[101:] = 99
    after = temporal.inputs(series, [100, 169], 3)
    assert np.array_equal(before[0][0], after[0][0])
    assert np.array_equal(before[1], after[1])
    assert before[1].shape == (2, 3, 3)


@installed
def test_it_is_trained_and_then_runs_without_its_library(
    known: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal, "STEPS", 30)
    train(known, ASKED)
    facts, content = read(known, 3)
    assert (facts["model"], facts["inputs"][0]) == ("tft", "value")
    train(known, ASKED)
    assert read(known, 3) == (facts, content)
    monkeypatch.setattr(temporal, "find_spec", lambda _name: None)
    predict(known, Namespace(horizon=2))
    lines = known.path("artifacts/predictions.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:3]] == ["tft", "tft"]


@installed
def test_it_is_judged_like_the_others(known: Work) -> None:
    said = evaluate(known, ASKED)
    assert said[1].startswith("tft ")
