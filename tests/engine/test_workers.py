"""The workers in containers, as they are: models that explain, a policy that is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from slipway.core.project import load
from slipway.stack import health
from tests.support import bakes
from tests.support.queues import FINAL, Asking
from tests.support.scratch import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engine.conftest import MakeStack, Stack

REPOSITORY = bakes.workers()
KEPT = ("api", "postgres", "proxy", "redis", "worker-llm", "worker-rl", "tensorboard")
FORECAST = {
    "target_key": "2016-01-01",
    "prediction": {"rain": 0.7342, "temp_max": 5.634},
    "units": {"rain": "probability", "temp_max": "°C"},
}
ILL = """    qwen: {model: broken}
    slow:
      backend: openai
      base_url: "{OLLAMA_BASE_URL}/v1"
      model: slow
      weight: 0.5
      timeout_seconds: 1
      max_tokens: 50
"""
"""Of three members one fails, and one is slow."""
LIMIT = 120.0
"""Seconds until what is awaited has to be."""


@pytest.fixture(scope="module")
def chat() -> Iterator[str]:
    """Run a server of chat completions on this machine; return how a container reaches it."""
    port = free_port()
    module = f"{load(REPOSITORY).package}.llm.tests.chatserver"
    command = [sys.executable, "-m", module, str(port), "0.0.0.0"]  # noqa: S104 - for a container
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    with subprocess.Popen(command, env=environment) as process:
        try:
            awaited(lambda: not health.probe_health(f"tcp://127.0.0.1:{port}"))
            yield f"http://host.docker.internal:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, chat: str) -> Stack:
    """Return a stack of workers that is up."""
    made = make_stack(KEPT, of=REPOSITORY, OLLAMA_BASE_URL=chat)
    ensemble = made.root / "config" / "llm_ensemble.yaml"
    if ensemble.exists():
        text = ensemble.read_text(encoding="utf-8")
        assert "    qwen: null\n" in text
        ensemble.write_text(text.replace("    qwen: null\n", ILL), encoding="utf-8")
    made.up()
    return made


def awaited(found: Callable[[], Any]) -> Any:  # noqa: ANN401 - what is awaited
    """Wait for something."""
    limit = time.monotonic() + LIMIT
    while not (now := found()):
        assert time.monotonic() < limit
        time.sleep(0.2)
    return now


def begun(asking: Asking, kind: str, payload: dict[str, Any]) -> str:
    """Queue a job, and return its id."""
    told: dict[str, str] = asking.ask("POST", f"/jobs/{kind}", payload)
    return told["id"]


def result(asking: Asking, number: str) -> dict[str, Any]:
    """Wait until a job is done, and return what came of it."""

    def ended() -> dict[str, Any] | None:
        told: dict[str, Any] = asking.ask("GET", f"/jobs/{number}")
        return told if told["state"] in FINAL else None

    job: dict[str, Any] = awaited(ended)
    assert job["state"] == "done", job
    told: dict[str, Any] = job["result"]
    return told


def test_forecasts_are_explained_by_who_is_well_while_workers_are_scaled_and_restarted(
    stack: Stack,
) -> None:
    asking = Asking(stack)
    told = result(asking, begun(asking, "explain", {"forecast": FORECAST}))
    assert told["by"] == ["llama"]
    assert "73 %" in told["text"]
    states = {one["member"]: (one["state"], str(one["why"])) for one in told["members"]}
    assert states["llama"] == ("verified", "[]")
    assert states["qwen"][0] == "failed"
    assert "500" in states["qwen"][1]
    assert states["slow"][0] == "slow"
    stack.inv("deploy.scale", "worker-llm=3")
    workers = [one for one in asking.overview()["workers"] if one["queue"] == "llm"]
    assert len(workers) == 3
    numbers = [begun(asking, "explain", {"forecast": FORECAST}) for _ in range(12)]
    for container in stack.containers("worker-llm"):
        container.restart(timeout=30)
    assert {tuple(result(asking, number)["by"]) for number in numbers} == {("llama",)}
    assert asking.done("llm") == 1 + len(numbers)
    awaited(lambda: {item["state"] for item in stack.status().values()} == {"healthy"})


def test_a_policy_is_trained_though_its_worker_is_killed_and_is_listed_with_its_log(
    stack: Stack,
) -> None:
    asking = Asking(stack)
    number = begun(asking, "train-policy", {"steps": 24576})
    awaited(lambda: asking.ask("GET", f"/jobs/{number}")["progress"])
    (container,) = stack.containers("worker-rl")
    assert asking.ask("GET", f"/jobs/{number}")["state"] == "running"
    container.kill("SIGKILL")
    container.start()
    told = result(asking, number)
    assert asking.ask("GET", f"/jobs/{number}")["attempts"] == 2
    assert (told["tier"], told["version"]) == ("umbrella", "v1.0")
    assert asking.done("rl") == 1
    listed = json.loads(stack.inv("models.list", "--json"))
    assert ("umbrella", "v1.0", True) in {
        (item["tier"], item["version"], item["current"]) for item in listed
    }
    url = f"http://127.0.0.1:{stack.ports['TENSORBOARD_PORT']}/data/runs"

    def runs() -> list[str]:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[str] = json.load(answer)
        return found

    assert awaited(runs)
