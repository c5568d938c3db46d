"""The functions that run this part's kinds of jobs.

A training run keeps its checkpoints under the key of its job, so that another worker can resume it
if the first one is killed.
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
    """Return the training module; if a package was missing before, try again.

    Raises Unrecoverable if it is not installed.
    """
    try:
        importlib.invalidate_caches()
        return importlib.import_module(".training", __package__)
    except ModuleNotFoundError as error:
        what = f"{error.name or 'torch'} is not installed"
        raise Unrecoverable(f"{what}; install it: {NEEDED}") from error


try:  # at the worker's start: importing it takes seconds, in which no job could report
    trainer()
except Unrecoverable as error:
    logging.getLogger(__name__).warning("%s", error)

POLL = 0.5
"""Seconds between two checks whether a waiting job was cancelled."""

turn = threading.Lock()
"""Held by the only training run of this process: the library uses the process's global random
generators, so two runs at a time would not be reproducible."""


def train_policy(payload: TrainPolicy, job: Job) -> dict[str, Any]:
    """Train a policy and write it as an artifact; return its evaluation.

    Raises Unrecoverable if a package for training is not installed.
    """
    training, settings = trainer(), load(Settings)
    with taken(job):
        metadata: Metadata = training.train_and_publish(settings, payload, job.key, job.progress)
    return said(metadata)


@contextmanager
def taken(job: Job) -> Iterator[None]:
    """Wait for this run's turn; raises Cancelled."""
    while not turn.acquire(timeout=POLL):
        job.progress(0.0, "waiting for another run")
    try:
        yield
    finally:
        turn.release()


def evaluate_policy(payload: EvaluatePolicy, job: Job) -> dict[str, Any]:
    """Return the cost of a policy on the held-out days, and of the fixed ones.

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
    """Return the metadata of a version, by default the current one.

    Raises ArtifactError if there is none.
    """
    models, key = settings.models_dir, settings.models_public_key
    names = [path.name for path in models.glob(f"{TIER}_{version}_*.onnx")] if version else []
    name = names[0] if names else "" if version else artifacts.pointed(models, TIER)
    if not name:
        raise artifacts.ArtifactError(f"there is no policy {TIER} {version or '(current)'}")
    return artifacts.read(models, name, key)


def said(metadata: Metadata) -> dict[str, Any]:
    """Return a policy's result in the form of a job."""
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
