import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ...settings import Settings
from ...shared.tests.conftest import refused
from ...tests.conftest import PACKAGE
from ..environment import Days
from ..places import Places
from ..policy import Network
from .conftest import NO_TORCH

pytest.importorskip("stable_baselines3", reason=NO_TORCH)

from .. import checkpoint, training
from ..training import Run, network, train

STRETCH = 512
"""Days between two checkpoints."""
KILLED = """
import os, signal, sys
from {package}.rl import training
from {package}.settings import Settings, load

def said(fraction, words):
    if fraction >= 0.5:
        os.kill(os.getpid(), signal.SIGKILL)

asked = training.TrainPolicy(steps=int(sys.argv[2]), seed=7)
training.train_and_publish(load(Settings), asked, sys.argv[1], said)
"""


class Stopped(Exception):  # noqa: N818 - what a job is told
    pass


def quiet(_fraction: float, _words: str) -> None:
    pass


def wanted(
    settings: Settings, parts: tuple[Days, Days], name: str, steps: int, seed: int = 7
) -> Run:
    return Run(steps, seed, parts[0], Places.of(settings, name))


def kept(run: Run) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return all that a checkpoint holds, its tensors as bytes."""
    state, held = checkpoint.read(run.places.checkpoint)
    return state, {name: tensor.numpy().tobytes() for name, tensor in held.items()}


def test_a_training_that_was_killed_ends_as_if_it_had_not_been(
    settings: Settings, parts: tuple[Days, Days]
) -> None:
    whole = wanted(settings, parts, "whole", 4 * STRETCH)
    train(whole, quiet)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.format(package=PACKAGE.name), "cut", str(4 * STRETCH)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    cut = wanted(settings, parts, "cut", 4 * STRETCH)
    assert kept(cut)[0]["steps"] == 2 * STRETCH
    train(cut, quiet)
    assert kept(cut) == kept(whole)
    assert kept(cut)[0]["steps"] == 4 * STRETCH


def test_one_that_was_stopped_is_continued_by_another(
    settings: Settings, parts: tuple[Days, Days]
) -> None:
    train(wanted(settings, parts, "first", 2 * STRETCH), quiet)
    train(wanted(settings, parts, "other-seed", 3 * STRETCH, seed=8), quiet)
    longer, whole = (wanted(settings, parts, name, 3 * STRETCH) for name in ("longer", "whole"))
    at: list[str] = []
    train(longer, lambda _fraction, words: at.append(words), resume=True)
    assert at == [f"{2 * STRETCH} days simulated", f"{3 * STRETCH} days simulated"]
    train(whole, quiet)
    assert kept(longer) == kept(whole)
    model = train(wanted(settings, parts, "whole", 3 * STRETCH), quiet)
    assert model.num_timesteps == 3 * STRETCH  # it was done already


def test_who_is_told_of_progress_can_end_it(settings: Settings, parts: tuple[Days, Days]) -> None:
    def stop(fraction: float, _words: str) -> None:
        if fraction:
            raise Stopped

    run = wanted(settings, parts, "stopped", 4 * STRETCH)
    with pytest.raises(Stopped):
        train(run, stop)
    assert kept(run)[0]["steps"] == STRETCH


def test_a_checkpoint_that_is_damaged_or_of_other_days_is_left_out(
    settings: Settings, parts: tuple[Days, Days]
) -> None:
    run = wanted(settings, parts, "one", STRETCH)
    train(run, quiet)
    others = Run(STRETCH, 7, parts[1], run.places)
    at: list[str] = []
    train(others, lambda _fraction, words: at.append(words))
    assert at[0] == "0 days simulated"
    file = run.places.checkpoint
    file.write_bytes(file.read_bytes()[:-1])
    assert "is not a checkpoint" in refused(lambda: checkpoint.read(file))
    at.clear()
    train(run, lambda _fraction, words: at.append(words))
    assert at[0] == "0 days simulated"


def test_a_checkpoint_holds_no_pickle(settings: Settings, parts: tuple[Days, Days]) -> None:
    run = wanted(settings, parts, "one", STRETCH)
    train(run, quiet)
    content = run.places.checkpoint.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    assert json.loads(header.pop("__metadata__")["state"])["steps"] == STRETCH
    assert {entry["dtype"] for entry in header.values()} <= {"F32", "I64", "U8", "BOOL"}
    assert list(run.places.folder.glob("*/*")) == [run.places.checkpoint]


def test_it_logs_for_tensorboard(settings: Settings, parts: tuple[Days, Days]) -> None:
    run = wanted(settings, parts, "one", STRETCH)
    train(run, quiet)
    (file,) = run.places.log.glob("events.out.tfevents.*")
    assert b"rollout/ep_rew_mean" in file.read_bytes()


def test_what_is_exported_decides_as_what_was_trained(
    settings: Settings, parts: tuple[Days, Days]
) -> None:
    model = train(wanted(settings, parts, "one", STRETCH), quiet)
    made = network(model)
    training.check_export(model, made, parts[1].features)
    other = Network(made.mean + 1, made.scale, made.layers)
    assert "is off by" in refused(lambda: training.check_export(model, other, parts[1].features))


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b", "x" * 129])
def test_the_name_of_a_training_is_one_of_a_folder(settings: Settings, name: str) -> None:
    assert "not a valid name" in refused(lambda: Places.of(settings, name))
    assert Places.of(settings, "a-job").checkpoint.is_relative_to(Path(settings.serving_dir).parent)
