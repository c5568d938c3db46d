import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ...shared.tests.conftest import refused
from ..consensus import NAMES, live, past
from ..decisions import Forecasts, Opinion, below, beyond, decide, shares
from ..work import Work
from ..writing import replace_json, replace_table
from .conftest import make_work

DATES = ["2024-07-01", "2024-07-08"]
PATHS = {
    "gbm": np.array([[25.0, 30.0, 32.0], [20.0, 24.0, 30.0]]),
    "naive": np.array([[28.0, 32.0, 36.0], [26.0, 32.0, 38.0]]),
    "seasonal-naive": np.array([[20.0, 24.0, 28.0], [20.0, 24.0, 28.0]]),
}
LOSSES = {"gbm": 1.0, "naive": 2.0, "seasonal-naive": 2.0}
FORECASTS = Forecasts("2024-06-24", DATES, PATHS, LOSSES)
OPINION = Opinion(member="tiny", warn=True, confidence=0.9, explanation="It is hot already.")
CALM = Opinion(member="calm", warn=False, confidence=1.0)


def decision(folder: Path, step: int = 1, *opinions: Opinion) -> dict[str, Any]:
    return decide(make_work(folder), FORECASTS, step, opinions).decision.model_dump()


def test_the_decision_of_now_is_this_one(tmp_path: Path) -> None:
    found = decision(tmp_path)
    assert found == {
        "id": found["id"],
        "series": "temp_max",
        "interval": "1w",
        "unit": "°C",
        "origin": "2024-06-24",
        "horizon": 2,
        "event": "heat",
        "side": "above",
        "threshold": 32.0,
        "cost": 1.0,
        "loss": 4.0,
        "warn_from": 0.25,
        "action": "hold",
        "date": "2024-07-01",
        "step": 1,
        "probability": 0.151667,
        "confidence": 0.848333,
        "members": [
            {
                "member": "gbm",
                "kind": "forecaster",
                "weight": 0.666667,
                "probability": 0.1,
                "reason": "pinball loss so far 1 °C",
            },
            {
                "member": "naive",
                "kind": "forecaster",
                "weight": 0.166667,
                "probability": 0.5,
                "reason": "pinball loss so far 2 °C",
            },
            {
                "member": "seasonal-naive",
                "kind": "forecaster",
                "weight": 0.166667,
                "probability": 0.01,
                "reason": "pinball loss so far 2 °C",
            },
        ],
        "reasons": [
            "heat (32 °C or above) in the week of 2024-07-01 has a probability of 15.2%",
            ("that is below 25.0%, which is the cost of a warning (1) by the loss without one (4)"),
            (
                "the members: gbm 10.0% (weight 0.67), naive 50.0% (weight 0.17), seasonal-naive"
                " 1.0% (weight 0.17)"
            ),
            "alone, naive would warn",
        ],
    }


def test_an_opinion_can_turn_it(tmp_path: Path) -> None:
    found = decision(tmp_path, 1, OPINION)
    assert found["action"] == "warn"
    assert found["probability"] == pytest.approx(0.8 * 0.151667 + 0.2 * 0.9, abs=1e-5)
    assert found["confidence"] == found["probability"]
    assert found["members"][-1] == {
        "member": "tiny",
        "kind": "opinion",
        "weight": 0.2,
        "probability": 0.9,
        "reason": "It is hot already.",
    }
    assert found["reasons"][-1] == "alone, gbm, seasonal-naive would not warn"


def test_opinions_share_what_opinions_count(tmp_path: Path) -> None:
    found = decision(tmp_path, 1, OPINION, CALM)
    assert [one["weight"] for one in found["members"][-2:]] == [0.1, 0.1]
    assert sum(one["weight"] for one in found["members"]) == pytest.approx(1, abs=1e-5)
    assert found["members"][-1]["probability"] == 0


def test_another_step_is_another_decision(tmp_path: Path) -> None:
    found = decision(tmp_path, 2)
    assert (found["date"], found["step"]) == ("2024-07-08", 2)
    assert found["id"] != decision(tmp_path)["id"]
    assert "--step can be at most that" in refused(lambda: decision(tmp_path, 3))


def test_the_path_is_the_mean_of_the_paths(work: Work) -> None:
    made = decide(work, FORECASTS)
    assert made.quantiles[0].tolist() == pytest.approx([24.6667, 29.3333, 32.0], abs=1e-4)
    assert made.probabilities[0] == pytest.approx(0.151667, abs=1e-5)


def test_frost_is_below(tmp_path: Path) -> None:
    work = make_work(tmp_path, "temp_min")
    path = np.array([[-2.0, 3.0, 9.0], [-9.0, -2.0, 1.0], [-2.0, -2.0, -2.0]])
    assert beyond(path, work).tolist() == pytest.approx([0.1, 0.5, 0.5])


quantiles = st.lists(st.floats(-50, 50), min_size=3, max_size=3).map(sorted)


@given(quantiles, st.floats(-60, 60), st.floats(-60, 60))
def test_a_probability_never_falls_with_the_threshold(
    path: list[float], one: float, other: float
) -> None:
    low, middle, high = path
    first, second = sorted((one, other))
    assert below(first, low, middle, high) <= below(second, low, middle, high)
    assert 0 <= below(one, low, middle, high) <= 1


@given(quantiles.filter(lambda path: path[1] - path[0] > 0.01 and path[2] - path[1] > 0.01))
def test_a_distribution_goes_through_its_quantiles(path: list[float]) -> None:
    found = [below(threshold, *path) for threshold in path]
    assert found == pytest.approx([0.1, 0.5, 0.9])


@given(st.dictionaries(st.text(), st.floats(0, 1e6), min_size=1))
def test_weights_sum_to_one_and_the_best_has_the_most(losses: dict[str, float]) -> None:
    found = shares(losses)
    assert sum(found.values()) == pytest.approx(1)
    assert found[min(losses, key=losses.__getitem__)] == max(found.values())


def lay_out(work: Work) -> None:
    """Write what consensus-live reads."""
    rows = [
        [name, FORECASTS.origin, step, DATES[step - 1], *path[step - 1].tolist()]
        for name, path in PATHS.items()
        for step in (1, 2)
    ]
    names = ("forecaster", "origin", "step", "date", "q10", "q50", "q90")
    replace_table(work.path("artifacts/predictions.csv"), names, rows)
    told = {"forecasters": {name: {"pinball": loss} for name, loss in LOSSES.items()}}
    replace_json(work.path("artifacts/evaluation.json"), told)


def asked(*opinions: Path, step: int = 1) -> Namespace:
    return Namespace(opinion=list(opinions), step=step)


def test_the_same_run_twice_is_one_decision(work: Work) -> None:
    lay_out(work)
    live(work, asked())
    history = work.path("artifacts/decisions.jsonl")
    before = history.read_bytes()
    live(work, asked())
    assert history.read_bytes() == before
    live(work, asked(step=2))
    assert history.read_bytes().startswith(before)
    assert [one.step for one in past(history)] == [1, 2]
    written = json.loads(work.path("artifacts/decision.json").read_text())
    assert written == past(history)[1].model_dump()
    table = work.path("artifacts/forecast_path.csv").read_text().splitlines()
    assert table[0] == ",".join(NAMES)
    assert table[1] == "1,2024-07-01,24.6667,29.3333,32.0,0.151667"


def test_an_opinion_is_read_from_a_file(work: Work, tmp_path: Path) -> None:
    lay_out(work)
    file = tmp_path / "opinion.json"
    file.write_text(OPINION.model_dump_json())
    assert "warn (heat, 2024-07-01)" in live(work, asked(file))[0]


JOB = {
    "id": "5f0c8a7de0c84f5f9f0f2a53a2f2b7a1",  # pragma: allowlist secret
    "kind": "explain",
    "state": "done",
    "result": {"text": "It is hot.", "opinions": [OPINION.model_dump(), CALM.model_dump()]},
}
"""As GET /jobs/{id} has it."""


def test_opinions_are_read_from_a_job(work: Work, tmp_path: Path) -> None:
    lay_out(work)
    one, job, none = (tmp_path / name for name in ("opinion.json", "job.json", "none.json"))
    one.write_text(OPINION.model_dump_json())
    job.write_text(json.dumps(JOB))
    none.write_text(json.dumps({**JOB, "result": {"text": "It is hot.", "opinions": []}}))
    said = live(work, asked(one, job, none))
    written = json.loads(work.path("artifacts/decision.json").read_text())
    heard = [member["member"] for member in written["members"] if member["kind"] == "opinion"]
    assert heard == ["tiny", "tiny", "calm"]
    assert said[-1] == f"{none}: it contains no opinion"


def test_what_to_ask_of_others_is_written(work: Work) -> None:
    lay_out(work)
    live(work, asked())
    assert json.loads(work.path("artifacts/question.json").read_text()) == {
        "forecast": {
            "target_key": "2024-07-01",
            "prediction": {"temp_max": 29.3, "heat": 0.1517},
            "units": {"temp_max": "°C", "heat": "probability"},
        },
        "event": "heat (temp_max 32 °C or above)",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"state": "running"}', "the job is running: try again when it is done"),
        ('{"state": "dead"}', "the job is dead: post question.json again"),
        (
            '{"state": "done", "result": {"text": ""}}',
            "submitted without an event: post question.json",
        ),
        ("{", "the file: Invalid JSON"),
        ('{"member": "a", "warn": true, "confidence": 2}', "confidence: Input should be less"),
        ('{"member": "a", "warn": true, "confidence": NaN}', "confidence: Input should be a"),
        ('{"member": "a"}', "warn: Field required; confidence: Field required"),
        (None, "cannot read"),
    ],
)
def test_an_opinion_that_is_none_is_refused(
    work: Work, tmp_path: Path, text: str | None, said: str
) -> None:
    lay_out(work)
    file = tmp_path / "opinion.json"
    if text is not None:
        file.write_text(text)
    assert said in refused(lambda: live(work, asked(file)))


def test_what_was_not_judged_is_not_combined(work: Work) -> None:
    lay_out(work)
    replace_json(work.path("artifacts/evaluation.json"), {"forecasters": {}})
    assert "run the stage evaluate (--model gbm)" in refused(lambda: live(work, asked()))


def test_what_is_missing_is_told_with_its_stage(work: Work) -> None:
    assert "run the stage predict first" in refused(lambda: live(work, asked()))


def test_a_broken_line_of_the_past_is_named(work: Work) -> None:
    lay_out(work)
    live(work, asked())
    history = work.path("artifacts/decisions.jsonl")
    history.write_text(f"{history.read_text()}{{}}\n")
    assert "decisions.jsonl:2: id: Field required" in refused(lambda: live(work, asked()))
