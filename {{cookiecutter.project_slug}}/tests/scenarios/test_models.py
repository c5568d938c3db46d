"""Who may reload the models, and what is served without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from slipway.harness.http import within

if TYPE_CHECKING:
    from slipway.harness.chaos import Chaos, HarnessStack
    from slipway.harness.http import ScenarioClient
    from tests.scenarios.conftest import Predict

CURRENT = "models/*_current.onnx"
RELOAD = "/admin/reload-model"


@pytest.fixture
def key(stack: HarnessStack) -> dict[str, str]:
    return {"X-API-Key": stack.variables["API_KEY"]}


def test_a_missing_and_a_wrong_api_key(client: ScenarioClient) -> None:
    missing = client.post(RELOAD)
    assert missing.status_code == 401
    assert missing.headers["WWW-Authenticate"] == "APIKey"
    assert client.post(RELOAD, headers={"X-API-Key": "not the key"}).status_code == 403


def test_a_reload_with_the_key(client: ScenarioClient, key: dict[str, str]) -> None:
    answer = client.post(RELOAD, headers=key)
    assert answer.status_code == 200
    assert answer.json()[0]["version"].startswith("v")


def test_after_a_reload_without_models_the_old_ones_answer(
    client: ScenarioClient, predict: Predict, disturb: Chaos, key: dict[str, str]
) -> None:
    disturb.hide(CURRENT)
    refused = client.post(RELOAD, headers=key)
    assert refused.status_code == 409
    assert "has no model" in refused.json()["detail"]
    predict(times=4)


def test_after_a_start_without_models_503_until_there_are_some(
    predict: Predict, disturb: Chaos
) -> None:
    disturb.hide(CURRENT)
    disturb.restart("api")
    for attempt in within(60):
        with attempt:
            assert all("has no model" in said["detail"] for said in predict(503, times=4))
    disturb.undo_all()
    for attempt in within(60):
        with attempt:
            predict(times=4)
