"""/jobs, with a server and a worker that are real."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from ...api import create_app
from ...settings import ApiSettings, load
from ...shared.tests.conftest import refused
from ...tests.conftest import API_KEY, PACKAGE, free_port, wait_until
from .. import __main__ as operating
from .. import kinds, routes
from ..store import Store
from .conftest import Start, await_end
from .kinds import NAMED, QUEUE

HEADERS = {"X-API-Key": API_KEY}


def test_a_job_is_asked_for_looked_at_and_followed(client: TestClient, start: Start) -> None:
    start()
    asked = {"seconds": 1.5, "name": "a"}
    answer = client.post("/jobs/work?priority=high", json=asked, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert (made["state"], made["key"], made["priority"]) == ("queued", "k1", "high")
    assert answer.headers["location"] == f"/jobs/{made['id']}"
    again = client.post("/jobs/work", json=asked, headers={"Idempotency-Key": "k1"})
    assert again.json()["id"] == made["id"]
    other = client.post("/jobs/work", json={"name": "b"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 409
    with client.stream("GET", f"/jobs/{made['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert told[-1]["state"] == "done"
    assert told[-1]["result"] == {"name": "a", "attempt": 1}
    shown = [one["progress"] for one in told]
    assert shown == sorted(shown)
    assert any(0 < one < 1 for one in shown)
    last = text.rpartition("id: ")[2].partition("\n")[0]
    with client.stream(
        "GET", f"/jobs/{made['id']}/events", headers={"Last-Event-ID": last}
    ) as stream:
        assert "data: " not in "".join(stream.iter_text())
    assert client.get(f"/jobs/{made['id']}").json() == told[-1]


def test_who_asks_needs_the_key_and_a_kind_and_what_it_is_asked(client: TestClient) -> None:
    assert client.post("/jobs/work", json={}, headers={"X-API-Key": "no"}).status_code == 403
    assert client.delete(f"/jobs/{'0' * 32}", headers={"X-API-Key": "no"}).status_code == 403
    assert client.get("/jobs", headers={"X-API-Key": "no"}).status_code == 403
    unknown = client.post("/jobs/other", json={})
    assert unknown.status_code == 404
    assert "the kinds are: work, stubborn" in unknown.json()["detail"]
    wrongly = client.post("/jobs/work", json={"seconds": "long"})
    assert wrongly.status_code == 422
    assert wrongly.json()["detail"][0]["loc"] == ["body", "seconds"]
    for wrong in ("../k", "", "k" * 200):
        answer = client.post("/jobs/work", json={}, headers={"Idempotency-Key": wrong})
        assert answer.status_code == 422, wrong
    assert client.post("/jobs/work?priority=top", json={}).status_code == 422
    assert client.get(f"/jobs/{'0' * 32}").status_code == 404
    assert client.get(f"/jobs/{'0' * 32}/events").status_code == 404
    assert client.get("/jobs/nonsense").status_code == 422


def test_each_kind_is_described(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {f"/jobs/{name}" for name in NAMED} < paths.keys()
    schema = paths["/jobs/work"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith("/Work")


def test_jobs_are_cancelled_and_dead_letters_queued_again(
    client: TestClient, store: Store, start: Start
) -> None:
    waiting = client.post("/jobs/work", json={"seconds": 60}).json()["id"]
    assert client.delete(f"/jobs/{waiting}").json()["state"] == "cancelled"
    start()
    running = client.post("/jobs/work", json={"seconds": 60}).json()["id"]
    wait_until(lambda: client.get(f"/jobs/{running}").json()["state"] == "running", "it runs")
    client.delete(f"/jobs/{running}")
    dead = client.post("/jobs/hopeless", json={"name": "x"}).json()["id"]
    await_end(store, running, dead)
    assert client.get(f"/jobs/{running}").json()["state"] == "cancelled"
    seen = client.get("/jobs").json()
    assert [one["id"] for one in seen["dead_letters"]] == [dead]
    [worker] = seen["workers"]
    assert (worker["queue"], worker["threads"]) == (QUEUE, 2)
    assert client.post(f"/jobs/{running}/again").status_code == 409
    assert client.post(f"/jobs/{dead}/again").json()["state"] == "queued"
    wait_until(lambda: client.get(f"/jobs/{dead}").json()["state"] == "dead", "dead again")


def test_depth_and_age_are_told_and_measured(client: TestClient, store: Store) -> None:
    for priority in ("high", "low", "low"):
        client.post(f"/jobs/work?priority={priority}", json={})
    time.sleep(0.1)
    [queue] = client.get("/jobs").json()["queues"]
    assert (queue["queue"], queue["depth"]) == (QUEUE, 3)
    assert queue["waiting"] == {"high": 1, "normal": 0, "low": 2}
    assert queue["oldest_seconds"] >= 0.1
    store.beat("w", {"queue": QUEUE}, [])
    measures = client.get("/metrics").text
    assert f'jobs_waiting{{priority="low",queue="{QUEUE}"}} 2.0' in measures
    assert f'jobs_workers{{queue="{QUEUE}"}} 1.0' in measures
    assert f'jobs_ended_total{{outcome="done",queue="{QUEUE}"}} 0.0' in measures


def test_without_redis_jobs_are_refused_and_all_else_goes_on(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del variables
    monkeypatch.setattr(routes, "router", routes.make_router(NAMED))
    (tmp_path / "models").mkdir()
    settings = load(ApiSettings).model_copy(
        update={"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")}
    )
    with TestClient(create_app(settings), headers=HEADERS) as client:
        for answer in (client.post("/jobs/work", json={}), client.get("/jobs")):
            assert answer.status_code == 503
            assert answer.json()["detail"] == "the queue is not responding (ConnectionError)"
        assert "jobs_waiting" not in client.get("/metrics").text


def test_an_ending_server_ends_its_streams(
    variables: dict[str, str], store: Store, tmp_path: Path
) -> None:
    del variables
    (tmp_path / "models").mkdir()
    number, _ = store.submit(NAMED["work"], "{}")
    port = free_port()
    command = [sys.executable, "-m", f"{PACKAGE.name}.jobs.tests.serving", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    with subprocess.Popen(command, env=environment) as server:
        try:
            address = f"http://127.0.0.1:{port}/jobs/{number}/events"
            wait_until(lambda: answers(port), "the server answers")
            with httpx.stream("GET", address, timeout=10) as stream:
                told = stream.iter_lines()
                while not next(told).startswith("data: "):
                    pass
                server.terminate()
                assert not [line for line in told if line]
            assert server.wait(5) in {0, -signal.SIGTERM}
        finally:
            server.kill()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/jobs", headers=HEADERS).is_success
    except httpx.TransportError:
        return False


def test_an_operator_lists_dead_letters_and_queues_them_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number, _ = store.submit(NAMED["work"], "{}")
    claim = store.claim(number, "token", "worker")
    assert claim
    store.finish(claim, "dead", error="why")
    monkeypatch.setattr(kinds, "installed", lambda: NAMED)

    def command(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["jobs", *arguments])
        operating.main()
        return capsys.readouterr().out

    assert command("dead") == f"{number}  work  1 tries  'why'\n"
    assert command("again", number) == "1 queued again\n"
    assert command("dead") == ""
    assert "no dead letters" in refused(lambda: command("again", number))
