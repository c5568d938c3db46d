"""What models expect of an event, from the question to the decision that hears of it."""

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ...jobs.job import Job
from .. import configuration, explaining, wording
from ..kinds import Explain, Forecast
from ..stances import Stance, parted
from .conftest import ensemble

EVENT = "heat (temp_max 30 °C or above)"
PACKAGE = __package__.split(".", 1)[0]
PIPELINE = find_spec(f"{PACKAGE}.pipeline")


@pytest.mark.parametrize(
    ("said", "stance"),
    [
        ("Fine.\nExpected: yes, 80 %", Stance(expected=True, confidence=0.8)),
        ("Fine.\n- *Expected:* NO (7.5%).", Stance(expected=False, confidence=0.075)),
        ("Fine.\nExpected: yes, 100 %", Stance(expected=True, confidence=1.0)),
        ("Fine.\nExpected: yes, 101 %", None),
        ("Fine.\nExpected: perhaps, 50 %", None),
        ("Fine.\nExpected: yes", None),
    ],
)
def test_the_last_line_is_taken_off(said: str, stance: Stance | None) -> None:
    assert parted(said) == ("Fine.", stance)


def test_a_text_without_the_line_stays_as_it_is() -> None:
    text = "Rain is expected: yes.\nIt may be 80 %."
    assert parted(text) == (text, None)
    assert parted("") == ("", None)


def test_the_event_is_in_the_question(forecast: Forecast) -> None:
    assert EVENT in wording.prompt(forecast, EVENT).user
    assert "xpect" not in wording.prompt(forecast).user


def asked(monkeypatch: pytest.MonkeyPatch, payload: Explain, *models: str) -> dict[str, Any]:
    monkeypatch.setattr(configuration, "load", lambda: ensemble(*models))
    return explaining.explain(payload, Job("1"))


@pytest.mark.usefixtures("server", "no_panel")
def test_the_opinions_of_those_whose_numbers_are_true_are_heard(
    monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    models = ("expecting", "doubting", "boasting", "lying", "honest", "broken")
    made = asked(monkeypatch, Explain(forecast=forecast, event=EVENT), *models)
    assert made["by"] == ["expecting", "doubting", "boasting", "honest"]  # who all say the same
    assert made["opinions"] == [
        {"member": "expecting", "warn": True, "confidence": 0.8, "explanation": made["text"]},
        {"member": "doubting", "warn": False, "confidence": 0.655, "explanation": made["text"]},
    ]
    assert {one["member"]: one["state"] for one in made["members"]}["lying"] == "refused"
    explaining.shared.close()
    assert "opinions" not in asked(monkeypatch, Explain(forecast=forecast), "expecting")


@pytest.mark.skipif(PIPELINE is None, reason="the stages are in another preset")
@pytest.mark.usefixtures("server", "no_panel")
def test_a_decision_is_made_with_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What consensus-live asks is answered by `explain`, and it hears the answer."""
    decisions = import_module(f"{PACKAGE}.pipeline.tests.test_decisions")
    work = decisions.make_work(tmp_path)
    decisions.lay_out(work)
    decisions.live(work, decisions.asked())
    question = Explain.model_validate_json(work.path("artifacts/question.json").read_bytes())
    made = asked(monkeypatch, question, "expecting", "lying", "doubting")
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"id": "1", "state": "done", "result": made}))
    decisions.live(work, decisions.asked(file))
    decision = json.loads(work.path("artifacts/decision.json").read_bytes())
    heard = [one for one in decision["members"] if one["kind"] == "opinion"]
    assert [(one["member"], one["weight"], one["probability"]) for one in heard] == [
        ("expecting", 0.1, 0.8),
        ("doubting", 0.1, 0.345),
    ]
    assert "The heat is forecast to be 15 %." in heard[0]["reason"]
