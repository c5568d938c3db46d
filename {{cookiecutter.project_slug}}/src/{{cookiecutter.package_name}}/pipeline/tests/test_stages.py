import hashlib
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ...shared.tests.conftest import refused
from .. import verdicts
from ..decisions import Forecasts, decide
from ..rules import Interval
from ..series import load
from ..stages import STAGES, run_stage
from ..verdicts import past_origins, score
from ..work import Work
from ..writing import json_line
from .conftest import make_work

SHORT = ["--horizon", "2"]
OPTIONS: dict[str, Sequence[str]] = {
    "train": SHORT,
    "predict": SHORT,
    "evaluate": [*SHORT, "--folds", "1", "--fold-size", "5"],
    "consensus-eval": [*SHORT, "--backfill", "1"],
}


def run_all(folder: Path, series: str, interval: Interval) -> Work:
    for stage in STAGES:
        options = OPTIONS.get(stage.name, [])
        run_stage(stage.name, series, interval, options, folder / "data", folder / "artifacts")
    return make_work(folder, series, interval)


def sums(work: Work) -> dict[str, str]:
    """Return the checksum of every file of a series."""
    files = sorted([*work.data.iterdir(), *work.artifacts.iterdir()])
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def report(work: Work) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(work.path("artifacts/consensus_evaluation.json").read_text())
    return found


@pytest.mark.parametrize("interval", ["1d", "1w"])
@pytest.mark.parametrize("series", ["temp_max", "temp_min", "wind", "precipitation"])
def test_every_series_goes_through_all_stages(
    tmp_path: Path, series: str, interval: Interval
) -> None:
    work = run_all(tmp_path, series, interval)
    for stage in STAGES:
        assert all(work.path(name).stat().st_size for name in stage.outputs)
    evaluation = json.loads(work.path("artifacts/evaluation.json").read_text())
    assert len(evaluation["folds"]) == 1
    assert set(evaluation["forecasters"]) == {"gbm", "naive", "seasonal-naive"}
    for found in evaluation["forecasters"].values():
        assert 0 < found["mase"] < 10
        assert found["pinball"] > 0
        assert 0 <= found["coverage"] <= 1
    lines = work.path("artifacts/folds.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 5 * 2
    scores = report(work)["scores"]
    assert (scores["live"]["waiting"], scores["backfilled"]["scored"]) == (1, 1)
    assert set(json.loads(work.path("artifacts/decision.json").read_text())) > {"action", "reasons"}


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    one = run_all(tmp_path / "one", "precipitation", "1w")
    before = sums(one)
    assert sums(run_all(tmp_path / "other", "precipitation", "1w")) == before


@pytest.fixture
def known(work: Work) -> Work:
    for name in ("fetch", "process"):
        run_stage(name, work.series, work.interval, [], work.data.parent, work.artifacts.parent)
    return work


def asked(backfill: int = 0) -> Namespace:
    return Namespace(backfill=backfill, model="gbm", horizon=2, seed=1, step=1)


def keep(work: Work, date: str, *paths: Sequence[float]) -> None:
    """Keep a decision for each path of one step, about a date."""
    lines = []
    for path in paths:
        forecasts = Forecasts("2015-01-01", [date], {"one": np.array([path])}, {"one": 1.0})
        lines.append(json_line(decide(work, forecasts).decision.model_dump()))
    file = work.path("artifacts/decisions.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        opened.writelines(f"{line}\n" for line in lines)


def test_no_decision_is_said_and_written(known: Work) -> None:
    said = score(known, asked())
    assert "there is no decision to score" in said[1]
    assert report(known)["scores"]["all"]["decisions"] == 0


def test_a_hold_that_waits_is_said_and_written(known: Work) -> None:
    keep(known, "2099-01-01", [1.0, 2.0, 3.0])
    assert "none of 1 decisions can be scored" in score(known, asked())[1]
    found = report(known)
    assert found["scores"]["live"] == {
        "decisions": 1,
        "scored": 0,
        "waiting": 1,
        "warn": {"count": 0, "right": 0},
        "hold": {"count": 0, "right": 0},
        "hit_rate": None,
        "brier": None,
        "brier_of_share": None,
        "cost": None,
    }
    assert found["decisions"][0]["action"] == "hold"
    assert found["decisions"][0]["right"] is None


def test_decisions_are_scored_by_what_came(known: Work) -> None:
    series = load(known)
    hot = str(series.dates[int(series.values.argmax())])
    cold = str(series.dates[int(series.values.argmin())])
    warned, held = [30.0, 32.0, 36.0], [20.0, 22.0, 24.0]  # 0.5 and 0.01
    keep(known, hot, warned, held)
    keep(known, cold, warned, held)
    score(known, asked())
    found = report(known)["scores"]["all"]
    assert (found["warn"], found["hold"]) == ({"count": 2, "right": 1}, {"count": 2, "right": 1})
    assert found["hit_rate"] == 0.5
    assert found["brier"] == pytest.approx((0.25 + 0.99**2 + 0.25 + 0.01**2) / 4, abs=1e-6)
    assert found["brier_of_share"] == 0.25
    assert found["cost"] == {"decided": 6, "always_warn": 4, "never_warn": 8, "knowing": 2}


def test_decisions_of_the_past_are_spread_and_of_their_time(
    known: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = load(known)
    origins = past_origins(series, 6, 2)
    assert np.diff(origins).tolist() == [8] * 5
    assert origins[-1] + 2 == len(series) - 1
    assert "reduce --backfill" in refused(lambda: past_origins(series, 200, 2))
    monkeypatch.setattr(verdicts, "FITS", 1)
    score(known, asked(6))
    before = report(known)["decisions"]
    monkeypatch.setattr(verdicts, "load", lambda _work: series.known(origins[-1] + 3))
    score(known, asked(6))
    assert report(known)["decisions"] == before
    assert [one["origin"] for one in before] == [str(series.date(one)) for one in origins]
