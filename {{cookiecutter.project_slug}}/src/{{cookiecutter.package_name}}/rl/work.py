"""What workers do with the kinds of job of this part.

A training keeps its checkpoints under the key of its job: whoever is given the job again, after a
worker was killed, goes on from there.
"""

import importlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from .. import artifacts
from ..artifacts import Metadata
from ..jobs.job import Job, Unrecoverable
from ..settings import Settings, load
from ..shared import formats
from .environment import days
from .evaluation import evaluate
from .kinds import EvaluatePolicy, TrainPolicy
from .policy import decisions
from .tiers import TARGET, TIER

NEEDED = "pip install -r services/worker-rl/torch.txt"


def trainer() -> ModuleType:
    """Return what trains; where it was missing, it is looked for again.

    Raises Unrecoverable if it is not installed.
    """
    try:
        importlib.invalidate_caches()
        return importlib.import_module(".training", __package__)
    except ModuleNotFoundError as error:
        what = f"{error.name or 'torch'} is not installed"
        raise Unrecoverable(f"{what}; install it: {NEEDED}") from error


try:  # when the worker starts: it takes seconds in which no job could say that it is alive
    trainer()
except Unrecoverable as error:
    logging.getLogger(__name__).warning("%s", error)

POLL = 0.5
"""Seconds between two looks whether a job that waits was cancelled."""

turn = threading.Lock()
"""Held by the one training of this process: the library draws from the process's own random
numbers, so two at once would not be what either of them is alone."""


def train_policy(payload: TrainPolicy, job: Job) -> dict[str, Any]:
    """Train a policy and write it as an artifact; return what it is worth.

    Raises Unrecoverable if what trains is not installed.
    """
    training, settings = trainer(), load(Settings)
    with taken(job):
        metadata: Metadata = training.train_and_publish(settings, payload, job.key, job.progress)
    return said(metadata)


@contextmanager
def taken(job: Job) -> Iterator[None]:
    """Wait for the turn of this training; raises Cancelled."""
    while not turn.acquire(timeout=POLL):
        job.progress(0.0, "waiting for another run")
    try:
        yield
    finally:
        turn.release()


def evaluate_policy(payload: EvaluatePolicy, job: Job) -> dict[str, Any]:
    """Return what a policy costs on the held-out days, beside the fixed ones.

    Raises Unrecoverable if there is no such policy.
    """
    settings = load(Settings)
    job.progress(0.0, "loading the policy")
    try:
        metadata = wanted(settings, payload.version)
        content = artifacts.content(settings.models_dir, metadata)
    except artifacts.ArtifactError as error:
        raise Unrecoverable(str(error)) from error
    run = formats.load(metadata.file, content, [TARGET])
    _, held_out = days(settings.data_file)
    measured = evaluate(decisions(run), held_out)
    job.progress(1.0, "evaluated")
    return said(metadata.model_copy(update={"metrics": {TARGET: measured}}))


def wanted(settings: Settings, version: str) -> Metadata:
    """Return the metadata of a version, of the current one where none is named.

    Raises ArtifactError if there is none.
    """
    models, key = settings.models_dir, settings.models_public_key
    names = [path.name for path in models.glob(f"{TIER}_{version}_*.onnx")] if version else []
    name = names[0] if names else "" if version else artifacts.pointed(models, TIER)
    if not name:
        raise artifacts.ArtifactError(f"there is no policy {TIER} {version or '(current)'}")
    return artifacts.read(models, name, key)


def said(metadata: Metadata) -> dict[str, Any]:
    """Return what a job tells of a policy."""
    measured = metadata.metrics[TARGET]
    return {
        "tier": metadata.tier,
        "version": metadata.version,
        "file": metadata.file,
        "sha256": metadata.sha256,
        "better": measured.beats_baselines,
        "policy": measured.model,
        "fixed": measured.baselines,
    }
