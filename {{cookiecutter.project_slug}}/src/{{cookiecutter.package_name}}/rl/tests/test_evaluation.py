import numpy as np
import pytest
from numpy.typing import NDArray

from ..environment import EPISODE, VAIN, WET, Days
from ..evaluation import Interval, costs, evaluate, if_it_rained, never


def knowing(known: Days) -> dict[bytes, bool]:
    """Return what came of each day, by what was known the evening before."""
    pairs = zip(known.features, known.rained, strict=True)
    return {features.tobytes(): bool(rained) for features, rained in pairs}


def test_who_knows_the_weather_pays_nothing(parts: tuple[Days, Days]) -> None:
    known = parts[1]
    told = knowing(known)
    assert not costs(lambda seen: np.array([told[row.tobytes()] for row in seen]), known).any()


def test_who_never_carries_it_pays_for_every_rainy_day(parts: tuple[Days, Days]) -> None:
    known = parts[1]
    count = (len(known) - 1) // EPISODE
    rained = known.rained[: count * EPISODE].reshape(count, EPISODE)
    assert costs(never, known) == pytest.approx(WET * rained.mean(axis=1))


def test_who_looks_back_pays_where_the_weather_changes(parts: tuple[Days, Days]) -> None:
    known = parts[1]
    count = (len(known) - 1) // EPISODE * EPISODE
    today, before = known.rained[1:count], known.rained[: count - 1]
    spent = np.sum(before & ~today) * VAIN + np.sum(~before & today) * WET
    found = costs(if_it_rained, known).sum() * EPISODE
    assert abs(found - spent) <= WET  # of the first day, the day before is not among these


def test_the_interval_holds_the_mean_about_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(1)
    intervals = [Interval.of(drawn.normal(size=25)) for _ in range(60)]
    assert all(one.low < one.mean < one.high for one in intervals)
    assert 50 <= sum(one.low < 0 < one.high for one in intervals) <= 60


def test_what_sums_of_fractions_leave_is_nothing() -> None:
    told = Interval(1 / 14, 1.3e-17, -1.3e-17).told("saved")
    assert [repr(value) for value in told.values()] == ["0.071428571", "0.0", "0.0"]


def test_a_policy_is_better_where_all_of_the_interval_says_so(parts: tuple[Days, Days]) -> None:
    known = parts[1]
    told = knowing(known)

    def who_knows(seen: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.array([told[row.tobytes()] for row in seen])

    better, same = evaluate(who_knows, known), evaluate(if_it_rained, known)
    assert (better.beats_baselines, same.beats_baselines) == (True, False)
    assert (better.kind, better.score) == ("probability", "cost")
    for told_of in better.baselines.values():
        assert told_of["saved"] == pytest.approx(told_of["cost"] - better.model["cost"])
        assert 0 < told_of["saved_low"] < told_of["saved"] < told_of["saved_high"]
    assert same.baselines["if_it_rained"]["saved"] == 0
