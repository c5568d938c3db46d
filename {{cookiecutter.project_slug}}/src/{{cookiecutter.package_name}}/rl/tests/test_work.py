"""The jobs, as workers do them: with a real server, and workers that are real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ... import artifacts
from ...jobs.job import Cancelled, Job, Unrecoverable
from ...jobs.kinds import installed
from ...jobs.store import Store
from ...jobs.tests.conftest import await_end, project, store
from ...settings import Settings, load
from ...shared.tests.conftest import refused
from ...tests.conftest import PACKAGE, redis_server, redis_url, variables, wait_until
from .. import work
from ..environment import Days
from ..kinds import QUEUE, EvaluatePolicy, TrainPolicy
from ..policy import Training, publish
from ..tiers import TIER
from .conftest import NO_TORCH
from .test_policy import good_network

__all__ = ["redis_server", "redis_url", "store", "variables"]

STRETCH = 512
STEPS = 16 * STRETCH
trains = pytest.mark.skipif(not find_spec("torch"), reason=NO_TORCH)


@pytest.fixture
def settings(variables: dict[str, str]) -> Settings:
    del variables
    return load(Settings)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Start workers of this queue; none of them outlives the test."""
    begun: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", f"{PACKAGE.name}.jobs.worker", QUEUE]
    given = {"PYTHONPATH": str(PACKAGE.parent), "RL_WORKER_CONCURRENCY": "1"}

    def worker() -> "subprocess.Popen[bytes]":
        with (tmp_path / "log").open("ab") as log:
            started = subprocess.Popen(
                command, env={**os.environ, **given}, cwd=project(tmp_path), stderr=log
            )
        begun.append(started)
        return started

    yield worker
    for one in begun:
        one.kill()
        one.wait()


@trains
def test_a_training_goes_on_where_a_killed_worker_left_it(
    settings: Settings, store: Store, tmp_path: Path, start: Callable[[], "subprocess.Popen[bytes]"]
) -> None:
    from .. import checkpoint  # noqa: PLC0415 - it needs what may be missing

    first = start()
    payload = TrainPolicy(steps=STEPS, seed=7).model_dump_json()
    number, _ = store.submit(installed()["train-policy"], payload, "the-key", "normal")
    file = tmp_path / "run/rl/the-key/checkpoint.safetensors"
    wait_until(lambda: file.exists() and checkpoint.read(file)[0]["steps"] > 0, "a checkpoint")
    first.kill()
    first.wait()
    left = checkpoint.read(file)[0]["steps"]
    assert 0 < left < STEPS
    start()
    [told] = await_end(store, number)
    assert (told["state"], told["losses"]) == ("done", "1")
    assert f"continuing from {file}, at {left} days" in (tmp_path / "log").read_text()
    assert checkpoint.read(file)[0]["steps"] == STEPS
    current = artifacts.current(settings.models_dir, TIER)
    assert current
    result = json.loads(told["result"])
    assert (result["version"], result["sha256"]) == ("v1.0", current.sha256)
    assert [path.name for path in settings.models_dir.glob("*_v*.onnx")] == [current.file]


@trains
def test_a_job_that_was_done_already_makes_no_second_version(settings: Settings) -> None:
    asked = TrainPolicy(steps=STRETCH)
    first, again = (work.train_policy(asked, Job("one", attempt=number)) for number in (1, 2))
    assert first == again
    assert len(list(settings.models_dir.glob("*_v*.onnx"))) == 1


@trains
def test_a_training_ends_when_it_is_cancelled(settings: Settings) -> None:
    def stop(fraction: float, _said: str) -> None:
        if fraction:
            job.stop()

    job = Job("one", report=stop)
    with pytest.raises(Cancelled):
        work.train_policy(TrainPolicy(steps=1000 * STRETCH), job)
    assert not settings.models_dir.exists()
    assert not work.turn.locked()


@trains
def test_two_trainings_of_a_process_take_turns(settings: Settings) -> None:
    del settings
    said: list[str] = []

    def report(_fraction: float, words: str) -> None:
        said.append(words)
        job.stop()

    job = Job("two", report=report)
    with work.turn, pytest.raises(Cancelled):
        work.train_policy(TrainPolicy(), job)
    assert said == ["waiting for another run"]


def test_what_trains_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    training = f"{PACKAGE.name}.rl.training"
    monkeypatch.delitem(sys.modules, training, raising=False)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    why = refused(lambda: work.train_policy(TrainPolicy(), Job("one")), Unrecoverable)
    assert "pip install -r services/worker-rl/torch.txt" in why


def test_a_policy_is_evaluated_on_the_held_out_days(
    settings: Settings, parts: tuple[Days, Days]
) -> None:
    metadata = publish(settings, good_network(parts[0]), Training(7, 1.0, *parts))
    told = work.evaluate_policy(EvaluatePolicy(), Job("one"))
    assert told == work.evaluate_policy(EvaluatePolicy(version="v1.0"), Job("one"))
    assert (told["sha256"], told["better"]) == (metadata.sha256, True)
    assert told["policy"] == metadata.metrics["carry"].model
    json.dumps(told)


def test_a_policy_that_is_not_there_is_not_tried_again(settings: Settings) -> None:
    del settings
    for version in ("", "v9.9"):
        asked = EvaluatePolicy(version=version)
        refused(lambda asked=asked: work.evaluate_policy(asked, Job("one")), Unrecoverable)  # type: ignore[misc]
