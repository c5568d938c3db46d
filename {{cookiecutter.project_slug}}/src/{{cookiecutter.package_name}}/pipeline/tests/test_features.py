import datetime as dt
import math
from argparse import Namespace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ...problem import Observation
from ...shared.rowfiles import RefusedFileError
from ...shared.tests.conftest import refused
from ..features import FEATURES, NAMES, PAST, load, process, table
from ..points import Point, daily, weekly
from ..rules import Interval
from ..work import Work
from .conftest import SHIPPED, make_work

FIRST = dt.date(2024, 1, 1)  # a Monday

values = st.floats(-60, 60, allow_nan=False, width=32)


def points(held: list[float]) -> list[Point]:
    return [Point(FIRST + dt.timedelta(days=n), value) for n, value in enumerate(held)]


def row(day: int, value: float = 1.0) -> Observation:
    return Observation(
        date=FIRST + dt.timedelta(days=day),
        precipitation=0.0,
        temp_max=value,
        temp_min=-60.0,
        wind=0.0,
        weather="sun",
    )


def processed(work: Work, text: str | None = None, gap: int = 0) -> Path:
    file = work.path("data/fetched.csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SHIPPED.read_text() if text is None else text)
    process(work, Namespace(gap_days_max=gap))
    return work.path("data/features.csv")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(values, min_size=PAST, max_size=2 * PAST),
    st.lists(values, max_size=PAST),
    st.lists(values, max_size=PAST),
)
def test_no_feature_of_a_day_knows_what_comes_after_it(
    past: list[float], one: list[float], other: list[float]
) -> None:
    known = table(points(past))
    assert table(points([*past, *one]))[: len(past)] == known
    assert table(points([*past, *other]))[: len(past)] == known


@settings(max_examples=60, deadline=None)
@given(
    st.lists(values, min_size=10, max_size=60),
    st.lists(values, max_size=20),
    st.sampled_from(["highest", "lowest", "mean", "sum"]),
)
def test_no_week_knows_what_comes_after_it(
    past: list[float], coming: list[float], aggregate: str
) -> None:
    known = weekly(points(past), aggregate)
    assert weekly(points([*past, *coming]), aggregate)[: len(known)] == known
    assert len(known) == len(past) // 7


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), values), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 4), values), max_size=30),
)
def test_no_day_that_stands_for_another_knows_what_comes_after_it(
    past: list[tuple[int, float]], coming: list[tuple[int, float]]
) -> None:
    day, rows = 0, []
    for apart, value in [*past, *coming]:
        day += apart
        rows.append(row(day, value))
    known = daily(rows[: len(past)], "temp_max", 3)
    assert daily(rows, "temp_max", 3)[: len(known)] == known


def test_features_are_those_of_the_newest_values() -> None:
    held = [float(n) for n in range(40)]
    last = dict(zip(NAMES, table(points(held))[-1], strict=True))
    assert last["value"] == last["lag_0"] == last["highest_7"] == 39
    assert (last["lag_1"], last["lag_2"], last["lag_7"], last["lowest_7"]) == (38, 37, 32, 33)
    assert (last["mean_3"], last["mean_7"], last["mean_28"]) == (38, 36, 25.5)
    assert last["spread_7"] == pytest.approx(2)
    assert math.hypot(float(str(last["season_sin"])), float(str(last["season_cos"]))) == 1


@pytest.mark.parametrize(("interval", "periods"), [("1d", 1461), ("1w", 208)])
def test_what_was_written_is_read_again(tmp_path: Path, interval: Interval, periods: int) -> None:
    work = make_work(tmp_path, "precipitation", interval)
    file = processed(work)
    found, features = load(work)
    assert len(found) == periods
    assert [one is None for one in features[: PAST + 1]] == [True] * (PAST - 1) + [False] * 2
    assert features[-1] is not None
    assert len(features[-1]) == len(FEATURES)
    before = file.read_bytes()
    processed(work)
    assert file.read_bytes() == before


def test_a_week_of_rain_is_the_sum_of_its_days(tmp_path: Path) -> None:
    work = make_work(tmp_path, "precipitation", "1w")
    processed(work)
    first = load(work)[0][0]
    assert first.date == dt.date(2012, 1, 2)
    assert first.value == pytest.approx(10.9 + 0.8 + 20.3 + 1.3 + 2.5 + 0 + 0)


def test_a_gap_is_refused_unless_it_may_be_filled(work: Work) -> None:
    lines = SHIPPED.read_text().splitlines(keepends=True)
    text = "".join(lines[:100] + lines[102:])
    assert "--gap-days-max 2" in refused(lambda: processed(work, text))
    processed(work, text, 2)
    assert daily([row(0, 1), row(3, 2)], "temp_max", 2) == points([1, 1, 1, 2])


def test_a_row_that_is_not_valid_is_named(work: Work) -> None:
    text = SHIPPED.read_text().replace(",12.8,", ",hot,", 1)
    assert "fetched.csv:2: temp_max" in refused(lambda: processed(work, text), RefusedFileError)


def test_too_few_rows_are_refused(work: Work) -> None:
    text = "".join(SHIPPED.read_text().splitlines(keepends=True)[:100])
    assert "56 are needed" in refused(lambda: processed(work, text))


def test_what_is_missing_is_told_with_its_stage(work: Work) -> None:
    assert "run the stage fetch first" in refused(lambda: process(work, Namespace(gap_days_max=0)))
    assert "run the stage process first" in refused(lambda: load(work))
    processed(work).write_text("date,value\n2024-01-01,1\n")
    assert "run the stage process" in refused(lambda: load(work))
