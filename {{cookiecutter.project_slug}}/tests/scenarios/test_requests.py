"""Requests, good and bad ones, many at once and slow ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from slipway.harness.http import at_once, slowly, within

if TYPE_CHECKING:
    from slipway.harness.chaos import HarnessStack
    from slipway.harness.http import ScenarioClient
    from tests.scenarios.conftest import Predict

JSON = "application/json"
METRICS = """
from urllib.request import urlopen
print(urlopen("http://127.0.0.1:8000/metrics").read().decode())
"""


def test_a_forecast_from_the_newest_rows(client: ScenarioClient) -> None:
    answer = client.post("/predict", json={})
    assert answer.status_code == 200
    assert answer.json()["cached"] is False
    assert re.search(r"^v\d+\.\d+$", answer.json()["version"])
    assert re.search(r" v\d+\.\d+$", answer.headers["X-Model-Version"])
    assert answer.headers["X-RateLimit-Limit"].isdecimal()


def test_every_example_of_the_documentation(client: ScenarioClient) -> None:
    description = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    examples = description["requestBody"]["content"]["application/json"]["examples"]
    assert examples
    for name, example in examples.items():
        assert client.post("/predict", json=example["value"]).status_code == 200, name


def test_a_cache_hit_gives_the_same_forecast(predict: Predict) -> None:
    for attempt in within(10):
        with attempt:
            (first,) = predict()
    for attempt in within(10):
        with attempt:
            (second,) = predict()
            assert second["cached"] is True
            assert second["prediction"] == first["prediction"]


def test_a_forecast_is_kept_in_the_log(client: ScenarioClient, predict: Predict) -> None:
    (made,) = predict()
    listed = client.get("/predictions?limit=1&source=api")
    assert listed.status_code == 200
    assert listed.json()[0]["id"] == made["id"]


def test_the_models_that_answer_are_listed_with_their_metrics(client: ScenarioClient) -> None:
    answer = client.get("/models")
    assert answer.status_code == 200
    assert answer.json()[0]["version"].startswith("v")
    assert all("baselines" in scores for scores in answer.json()[0]["metrics"].values())


def test_the_address_itself_leads_to_the_documentation(client: ScenarioClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 307
    assert answer.headers["Location"].endswith("/docs")
    page = client.get("/docs")
    assert page.status_code == 200
    assert "html" in page.headers["Content-Type"]
    assert "openapi" in page.text
    description = client.get("/openapi.json")
    assert description.status_code == 200
    assert description.json()["openapi"].startswith("3")


def test_metrics_are_for_monitoring_alone(
    client: ScenarioClient, stack: HarnessStack, predict: Predict
) -> None:
    predict(times=8)
    assert client.get("/metrics").status_code == 404
    for _ in range(20):  # each process has metrics of its own
        said = stack.run("api", "python", "-c", METRICS)
        if "predictions_total" in said:
            return
    pytest.fail(f"no process has counted a prediction: {said}")


def test_answers_name_no_server_and_are_not_guessed_at(client: ScenarioClient) -> None:
    for path in ("/health", "/none-such"):
        headers = client.get(path).headers
        assert "Server" not in headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"


def test_no_host_but_the_api_s_own_is_led_to(client: ScenarioClient) -> None:
    answer = client.get("/health/", headers={"Host": "elsewhere.example.org"})
    assert (answer.status_code, "Location" in answer.headers) == (404, False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"tier": "none-such"}, "tier", id="an unknown tier"),
        pytest.param({"colour": "red"}, "colour", id="an unknown field"),
        pytest.param({"at": "no key at all"}, "at", id="a key that is none"),
        pytest.param({"observations": []}, "observations", id="too few rows of one's own"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    client: ScenarioClient, body: dict[str, Any], field: str
) -> None:
    answer = client.post("/predict", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][1] == field


def test_a_body_that_is_no_json_and_none_at_all(client: ScenarioClient) -> None:
    answer = client.post("/predict", content='{"tier": ', headers={"Content-Type": JSON})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "json_invalid"
    assert client.post("/predict").status_code == 422


def test_an_unknown_path_and_a_wrong_method(client: ScenarioClient) -> None:
    unknown = client.get("/none-such")
    assert unknown.status_code == 404
    assert unknown.json()["detail"] == "Not Found"
    wrong = client.get("/predict")
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["Allow"]


def test_a_big_body_is_refused_and_others_are_served(
    client: ScenarioClient, predict: Predict
) -> None:
    big = b'"' + b"x" * 7_999_998 + b'"'
    refused = client.post("/predict", content=big, headers={"Content-Type": JSON})
    assert refused.status_code == 413
    predict()


def test_the_rate_limit_with_its_headers(client: ScenarioClient, predict: Predict) -> None:
    for _ in range(300):
        answer = client.get("/models")
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert answer.headers["Retry-After"].isdecimal()
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert answer.headers["X-RateLimit-Reset"].isdecimal()
    assert "requests a minute" in answer.json()["detail"]
    predict()


def test_many_at_once_each_with_a_number_of_its_own(client: ScenarioClient) -> None:
    answers = at_once(lambda: client.post("/predict", json={}), times=60, clients=20)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 60


def test_a_slow_client_is_served(client: ScenarioClient) -> None:
    body = b'{"observations": null}'
    headers = {"Content-Type": JSON, "Content-Length": str(len(body))}
    answer = client.post("/predict", content=slowly(body, 3), headers=headers)
    assert answer.status_code == 200
