import json
from pathlib import Path

import numpy as np
import pytest

from .. import backtest
from ..backtest import Report, beaten, evaluate, main, origins, scores, table
from ..database import make_engine, transaction
from ..metrics import SCORES, measure
from ..observations import key_of, newest
from ..problem import BASELINES, HORIZON, TARGETS, TIERS, Observation, step
from ..samples import samples
from ..settings import ApiSettings
from ..shared.tests.conftest import refused
from ..training import FEWEST, fit

TIER = next(iter(TIERS))
WINDOWS, SIZE = 2, 10


@pytest.fixture
def rows(settings: ApiSettings) -> list[Observation]:
    with transaction(make_engine(settings.database_url)) as connection:
        return newest(connection, 200)


def test_windows_follow_one_another_up_to_the_newest_sample(rows: list[Observation]) -> None:
    every = samples(rows)
    pairs = list(origins(every, 3, SIZE))
    forecast = [key for _, coming in pairs for key in coming.keys]
    assert forecast == every.keys[-3 * SIZE :]
    assert [len(known) for known, _ in pairs] == sorted(len(known) for known, _ in pairs)


def test_what_is_fitted_to_was_known_at_the_origin(rows: list[Observation]) -> None:
    for known, coming in origins(samples(rows), 3, SIZE):
        assert step(known.keys[-1], HORIZON) <= coming.keys[0]
        assert known.keys[-1] < coming.keys[0]


def test_what_came_later_changes_no_forecast(rows: list[Observation]) -> None:
    [known, coming], *_ = origins(samples(rows), WINDOWS, SIZE)
    limit = step(known.keys[-1], HORIZON)
    past = [row for row in rows if key_of(row) <= limit]
    whole = backtest.forecasts(rows, known, coming, [TIER], 1)
    cut = backtest.forecasts(past, known, coming, [TIER], 1)
    for target in TARGETS:
        for name, values in whole[target.name].items():
            assert np.array_equal(values, cut[target.name][name])


def test_each_window_is_measured_and_all_of_them_together(rows: list[Observation]) -> None:
    report = evaluate(rows, [TIER], WINDOWS, SIZE)
    assert [window.forecast.count for window in report.windows] == [SIZE] * WINDOWS
    (known, coming), *_ = origins(samples(rows), WINDOWS, SIZE)
    for target in TARGETS:
        found = report.metrics[target.name]
        assert [*found] == [TIER, *BASELINES]
        made = backtest.forecast(fit(TIER, target, known, report.seed), target, coming)
        expected = measure(target.kind, made, coming.truths[target.name])
        assert report.windows[0].metrics[target.name][TIER] == pytest.approx(expected)
        each = [scores(window.metrics, target)[TIER] for window in report.windows]
        assert scores(report.metrics, target)[TIER] == pytest.approx(np.mean(each))


def test_the_same_seed_gives_the_same_figures(rows: list[Observation]) -> None:
    assert evaluate(rows, list(TIERS), 1, SIZE) == evaluate(rows, list(TIERS), 1, SIZE)


@pytest.mark.parametrize(("windows", "size"), [(1, 201 - FEWEST), (20, 10), (100, 100)])
def test_too_few_samples_to_fit_to_are_refused(
    rows: list[Observation], windows: int, size: int
) -> None:
    message = refused(lambda: evaluate(rows, [TIER], windows, size))
    assert f"{windows} windows of {size} leave fewer than {FEWEST}" in message


def report(tier: float, baseline: float) -> Report:
    metrics = {
        target.name: {
            TIER: {SCORES[target.kind]: tier},
            **{name: {SCORES[target.kind]: baseline} for name in BASELINES},
        }
        for target in TARGETS
    }
    some = {"count": 10, "first": "1", "last": "2"}
    window = {"fitted": some, "forecast": some, "metrics": metrics}
    return Report.model_validate({"seed": 1, "windows": [window], "metrics": metrics})


def test_a_tier_that_is_no_better_than_a_baseline_is_named() -> None:
    assert beaten(report(1.0, 2.0), [TIER]) == []
    assert beaten(report(2.0, 2.0), [TIER]) == [f"{TIER} at {target.name}" for target in TARGETS]
    assert table(report(1.0, 2.0), [TIER])[2].endswith(
        "  better than every baseline; in 1 of 1 windows"
    )
    assert "NOT better than every baseline; in 0 of 1" in table(report(3.0, 2.0), [TIER])[2]


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    size = ("--windows", str(WINDOWS), "--size", str(SIZE))
    monkeypatch.setattr("sys.argv", ["backtest", *size, *options])
    main()


def test_the_command_prints_a_table_and_keeps_the_figures(
    settings: ApiSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(settings.models_dir.iterdir())
    output = tmp_path / "reports" / "backtest.json"
    run(monkeypatch, "--tier", TIER, "--output", str(output))
    printed = capsys.readouterr().out
    assert f"{WINDOWS} origins, {WINDOWS * SIZE} forecasts" in printed
    assert all(name in printed for name in (TIER, *BASELINES, *(target.name for target in TARGETS)))
    run(monkeypatch, "--tier", TIER, "--json")
    assert json.loads(capsys.readouterr().out) == json.loads(output.read_text())
    assert sorted(settings.models_dir.iterdir()) == before


@pytest.mark.usefixtures("settings")
def test_the_command_fails_where_it_is_told_to_be_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "evaluate", lambda *_: report(3.0, 2.0))
    message = refused(lambda: run(monkeypatch, "--tier", TIER, "--strict"))
    assert message.startswith(f"no better than the baselines: {TIER} at {TARGETS[0].name}")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_number_of_windows_is_above_zero(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--windows", value)
