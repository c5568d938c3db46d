import numpy as np
import pytest

from .. import samples as module
from ..observations import key_of
from ..problem import FEATURES, HISTORY, HORIZON, TARGETS, Observation, step
from ..samples import Samples, features, samples, split, truths
from ..shared.definitions import Target
from ..shared.rowfiles import read
from .conftest import DATA, example_rows

WHOLE = HISTORY + HORIZON
"""Rows that the first sample needs."""


@pytest.fixture(scope="module")
def rows() -> list[Observation]:
    return read(DATA)


def test_each_whole_history_with_a_known_outcome_is_a_sample(rows: list[Observation]) -> None:
    made = samples(rows[: WHOLE + 4])
    assert made.keys == [key_of(row) for row in rows[HISTORY - 1 : HISTORY + 4]]
    assert made.features.shape == (5, len(FEATURES))
    assert made.features.dtype == np.float32


def test_a_sample_has_the_features_of_its_history_and_the_truths_of_its_target(
    rows: list[Observation],
) -> None:
    made = samples(rows[:WHOLE])
    assert made.features[0].tolist() == features(rows[:HISTORY]).tolist()
    for target in TARGETS:
        assert made.truths[target.name].tolist() == [target.truth(rows[WHOLE - 1])]


def test_a_sample_knows_nothing_of_later_rows(rows: list[Observation]) -> None:
    few, more = samples(rows[: WHOLE + 5]), samples(rows[: WHOLE + 50])
    assert few.features.tolist() == more.features[: len(few)].tolist()


def test_a_gap_takes_away_the_histories_and_the_targets_it_is_in() -> None:
    every = example_rows(3 * WHOLE)
    gap = len(every) // 2
    left = samples([*every[:gap], *every[gap + 1 :]])
    spoiled = {step(key_of(every[gap]), rows) for rows in range(HISTORY)}
    spoiled |= {step(key_of(every[gap]), -HORIZON)}
    assert left.keys == [key for key in samples(every).keys if key not in spoiled]


def test_a_row_with_an_unknown_truth_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    every = example_rows(2 * WHOLE)
    unknown = Target[Observation](
        "t", "quantity", "", lambda row: None if row == every[-1] else 1.0
    )
    monkeypatch.setattr(module, "TARGETS", [unknown])
    assert truths(every[-1]) == {}
    assert len(samples(every)) == len(every) - WHOLE


def test_the_newest_quarter_is_held_out(rows: list[Observation]) -> None:
    every = samples(rows[: WHOLE + 99])
    training, held_out = split(every)
    assert (len(training), len(held_out)) == (75, 25)
    assert training.keys + held_out.keys == every.keys
    for name, values in every.truths.items():
        assert [*training.truths[name], *held_out.truths[name]] == values.tolist()


def test_no_rows_make_no_samples() -> None:
    made = samples([])
    assert isinstance(made, Samples)
    assert len(made) == 0
