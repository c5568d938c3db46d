import threading
import time
from typing import Any

import pytest

from ...jobs.job import Cancelled, Job, Unrecoverable
from .. import configuration, explaining
from ..checking import check
from ..kinds import Explain, Forecast
from .chatserver import ChatServer
from .conftest import ensemble

pytestmark = pytest.mark.usefixtures("no_panel")


def explained(
    monkeypatch: pytest.MonkeyPatch, forecast: Forecast, *models: str, job: Job | None = None
) -> dict[str, Any]:
    monkeypatch.setattr(configuration, "load", lambda: ensemble(*models))
    return explaining.explain(Explain(forecast=forecast), job or Job("1"))


def test_the_heaviest_text_with_true_numbers_is_taken(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    assert server.url
    models = ("liar", "adding", "slow", "thinking", "broken", "honest", "vague")
    made = explained(monkeypatch, forecast, *models)
    said = "The rain is forecast to be 73 %. The temp max is forecast to be 5.6 °C."
    assert (made["text"], made["by"], made["why"]) == (said, ["thinking", "honest"], "")
    members = {one["member"]: one for one in made["members"]}
    assert {name: one["state"] for name, one in members.items()} == {
        "liar": "refused",
        "adding": "refused",
        "slow": "slow",
        "thinking": "verified",
        "broken": "failed",
        "honest": "verified",
        "vague": "refused",
    }
    assert "[37 %: not verified]" in members["liar"]["text"]
    assert members["liar"]["why"] == [
        "'37 %' is not a number in the forecast",
        "it does not state rain",
    ]
    assert members["slow"]["why"] == ["no answer within 0.5 s"]
    assert members["slow"]["seconds"] >= 0.5
    assert members["thinking"]["support"] == pytest.approx(0.7 + 0.5)
    assert members["liar"]["support"] == 0


def test_where_no_model_can_be_believed_the_numbers_are_said_without_one(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    assert server.url
    made = explained(monkeypatch, forecast, "liar", "broken")
    assert made["by"] == ["template"]
    assert made["why"] == "no model returned a text in which every number is from the forecast"
    assert made["text"].endswith("rain 73 %, temp max 5.6 °C.")
    assert check(made["text"], forecast).verified


def test_the_same_is_said_each_time(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    assert server.url
    made = [explained(monkeypatch, forecast, "honest", "vague") for _ in range(2)]
    for one in made:
        for member in one["members"]:
            del member["seconds"]
    assert made[0] == made[1]


def test_progress_is_told(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    server.seconds = 0.5
    told: list[tuple[float, str]] = []
    job = Job("1", report=lambda fraction, said: told.append((fraction, said)))
    explained(monkeypatch, forecast, "honest", "broken", job=job)
    assert told[0] == (0, "asking")
    assert (0.5, "1 of 2 models") in told


def test_a_cancelled_job_asks_no_more(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    job = Job("1")
    threading.Timer(0.3, job.stop).start()
    server.seconds = 20
    start = time.monotonic()
    with pytest.raises(Cancelled):
        explained(monkeypatch, forecast, "honest", job=job)
    assert time.monotonic() - start < 2


def test_a_file_that_cannot_be_used_is_no_reason_to_try_again(
    monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    monkeypatch.setenv("APP_ENV", "prod")
    with pytest.raises(Unrecoverable, match="OLLAMA_BASE_URL has no value"):
        explaining.explain(Explain(forecast=forecast), Job("1"))


def test_jobs_of_several_threads_share_their_models(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, forecast: Forecast
) -> None:
    server.seconds = 0.2
    made: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: made.append(explained(monkeypatch, forecast, "honest")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(made) == 4
    assert server.most_at_once == 4
