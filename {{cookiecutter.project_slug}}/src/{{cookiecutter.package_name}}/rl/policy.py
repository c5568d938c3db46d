"""A policy as an artifact of the model registry: an ONNX graph with its metadata.

The graph takes `features`, float32 [n, features], as the environment shows them, and returns
`carry`, float32 [n], the probability of carrying the umbrella. It is carried above 0.5.
"""

import fcntl
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from .. import artifacts
from ..artifacts import Golden, Metadata
from ..problem import FEATURES
from ..settings import Settings
from ..shared import formats
from ..shared.formats import INPUT
from .environment import CARRY, Days
from .evaluation import Policy, evaluate
from .tiers import TARGET, TIER

OPSET, IR_VERSION = 18, 8
"""Formats of 2022, which every later onnxruntime can read."""

GOLDEN = 3
EVEN = 0.5
"""The probability above which the umbrella is carried."""

LIBRARIES = ("numpy", "onnx", "onnxruntime", "gymnasium", "stable-baselines3", "torch")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """The parameters of a policy: features are standardised, then go through layers joined by tanh.

    A layer is its weights [out, in] and biases [out]; the last one has an output per action.
    """

    mean: Floats
    scale: Floats
    layers: Sequence[tuple[Floats, Floats]]


@dataclass(frozen=True)
class Training:
    """How a network was trained."""

    seed: int
    seconds: float
    training: Days
    held_out: Days


def export(network: Network) -> bytes:
    """Return the network as a serialised ONNX model; the same network gives the same bytes."""
    numbers = {"mean": network.mean, "scale": network.scale, "carry": np.array(CARRY)}
    for place, (weights, biases) in enumerate(network.layers):
        numbers |= {f"weights{place}": weights, f"biases{place}": biases}
    graph = helper.make_graph(
        list(nodes(len(network.layers))),
        TIER,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(network.mean)])],
        [helper.make_tensor_value_info(TARGET, TensorProto.FLOAT, [None])],
        [numpy_helper.from_array(value, f"policy/{name}") for name, value in numbers.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def nodes(layers: int) -> Iterator[NodeProto]:
    """Yield the operators of a graph with a number of layers."""
    yield helper.make_node("Sub", [INPUT, "policy/mean"], ["centred"])
    yield helper.make_node("Div", ["centred", "policy/scale"], ["hidden0"])
    for place in range(layers):
        last = place == layers - 1
        made = "actions" if last else f"linear{place}"
        taken = [f"hidden{place}", f"policy/weights{place}", f"policy/biases{place}"]
        yield helper.make_node("Gemm", taken, [made], transB=1)
        if not last:
            yield helper.make_node("Tanh", [made], [f"hidden{place + 1}"])
    yield helper.make_node("Softmax", ["actions"], ["probabilities"], axis=1)
    yield helper.make_node("Gather", ["probabilities", "policy/carry"], [TARGET], axis=1)


def decisions(run: formats.Run) -> Policy:
    """Return the policy of a loaded artifact."""

    def policy(features: Floats) -> NDArray[np.bool_]:
        return run(features)[TARGET] > EVEN

    return policy


def publish(settings: Settings, network: Network, how: Training) -> Metadata:
    """Write a network as the next version, unless a version with it exists; return its metadata.

    If the tier served nothing, it serves this version; else it is promoted like any other model.

    Raises AppError if it cannot be written.
    """
    content = export(network)
    models = settings.models_dir
    with alone(models):
        there = same(models, artifacts.sha256(content))
        return there or written(settings, content, how)


@contextmanager
def alone(models: Path) -> Iterator[None]:
    """Let only one process at a time choose a version and write it."""
    models.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(models, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def same(models: Path, sha256: str) -> Metadata | None:
    """Return the version with this content, so that a job that runs twice writes only one."""
    for file in sorted(models.glob(f"{TIER}_v*.onnx")):
        try:
            metadata = artifacts.read(models, file.name)
        except artifacts.ArtifactError:
            continue
        if metadata.sha256 == sha256:
            return metadata
    return None


def written(settings: Settings, content: bytes, how: Training) -> Metadata:
    """Evaluate a policy on the held-out days and write it; return its metadata."""
    run = formats.onnx(content, [TARGET])
    golden = how.held_out.features[-GOLDEN:]
    models, now = settings.models_dir, datetime.now(UTC)
    following = artifacts.next_version(models, TIER)
    libraries = {name: version(name) for name in LIBRARIES}
    metadata = Metadata(
        tier=TIER,
        version=following,
        file=f"{TIER}_{following}_{now:%Y-%m-%d}.onnx",
        sha256=artifacts.sha256(content),
        trained_at=now,
        duration_seconds=round(how.seconds, 3),
        seed=how.seed,
        rows={"train": how.training.part, "held_out": how.held_out.part},
        features=list(FEATURES),
        targets=[TARGET],
        metrics={TARGET: evaluate(decisions(run), how.held_out)},
        libraries={"python": platform.python_version(), **libraries},
        golden=Golden(
            features=golden.tolist(),
            outputs={name: values.tolist() for name, values in run(golden).items()},
        ),
    )
    artifacts.write(models, metadata, content, settings.models_signing_key)
    if not any(models.glob(f"{TIER}_current.*")):
        artifacts.point(models, metadata)
    return metadata
