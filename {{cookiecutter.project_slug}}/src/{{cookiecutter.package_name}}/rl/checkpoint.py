"""Everything a training run needs to resume, in one file that executes nothing when it is read.

The tensors are a safetensors file, with everything else as JSON in its header. The file is replaced
as a whole: a process that is killed while writing leaves no partial one.
"""

import json
import random
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from stable_baselines3 import PPO

from .. import artifacts
from ..shared.console import AppError
from .environment import Umbrella

POLICY, OPTIMIZER = "policy/", "optimizer/"
STATE = "state"
"""The key of the header that holds the JSON."""


EPISODES = 100
"""Episodes over which the library logs a mean: its own default."""


class CheckpointError(AppError):
    """A checkpoint cannot be used."""


def write(
    file: Path, model: PPO, environments: Sequence[Umbrella], plan: Mapping[str, Any]
) -> None:
    """Replace the checkpoint; a run can resume from it only with the same `plan`.

    Raises ArtifactError if the operating system refuses.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    states = [one.state() for one in environments]
    state = {"plan": dict(plan), "environments": states, **progress(model)}
    artifacts.replace(file, save(tensors(model), {STATE: json.dumps(state)}))


def tensors(model: PPO) -> dict[str, torch.Tensor]:
    """Return the weights, the state of the optimiser, and that of the random generators."""
    moments = model.policy.optimizer.state_dict()["state"]
    weights = {POLICY + name: tensor for name, tensor in model.policy.state_dict().items()}
    remembered = {
        f"{OPTIMIZER}{number}/{name}": tensor
        for number, values in moments.items()
        for name, tensor in values.items()
    }
    _, words, *_ = np.random.get_state()  # noqa: NPY002 - what the library draws from
    numbers = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(words, dtype=np.int64)),
        "seen": torch.from_numpy(np.array(model._last_obs)),  # noqa: SLF001 - it has no other name
        "begun": torch.from_numpy(np.array(model._last_episode_starts)),  # noqa: SLF001 - the same
    }
    return {name: one.clone() for name, one in (weights | remembered | numbers).items()}


def progress(model: PPO) -> dict[str, Any]:
    """Return everything else: counts, positions of the random generators, and recent episodes."""
    _, _, place, has_normal, normal = np.random.get_state()  # noqa: NPY002 - as above
    return {
        "steps": model.num_timesteps,
        "updates": model._n_updates,  # noqa: SLF001 - it has no other name
        "groups": model.policy.optimizer.state_dict()["param_groups"],
        "python": random.getstate(),
        "numpy": [place, has_normal, normal],
        "episodes": list(model.ep_info_buffer or ()),
    }


def read(file: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the state and the tensors of a checkpoint.

    Raises CheckpointError if it is not one.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            state: dict[str, Any] = json.loads((opened.metadata() or {})[STATE])
            return state, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{file} is not a checkpoint: {error}") from error


def restore(
    model: PPO,
    environments: Sequence[Umbrella],
    state: Mapping[str, Any],
    held: Mapping[str, torch.Tensor],
) -> None:
    """Put a training run into the state of a checkpoint.

    Raises CheckpointError if its tensors do not fit this network.
    """
    try:
        model.policy.load_state_dict(below(POLICY, held))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in below(OPTIMIZER, held).items():
            number, _, what = name.partition("/")
            moments.setdefault(int(number), {})[what] = tensor
        optimizer = {"state": moments, "param_groups": state["groups"]}
        model.policy.optimizer.load_state_dict(optimizer)
        model.num_timesteps, model._n_updates = state["steps"], state["updates"]  # noqa: SLF001 - as above
        model._last_obs = held["seen"].numpy()  # noqa: SLF001 - as above
        model._last_episode_starts = held["begun"].numpy()  # noqa: SLF001 - as above
        model.ep_info_buffer = deque(state["episodes"], maxlen=EPISODES)
        model.ep_success_buffer = deque(maxlen=EPISODES)
        for one, said in zip(environments, state["environments"], strict=True):
            one.restore(said)
        draw_from(state, held)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint is from a different training run: {error}"
        ) from error


def draw_from(state: Mapping[str, Any], held: Mapping[str, torch.Tensor]) -> None:
    """Continue the checkpoint's sequence of random numbers."""
    version, words, normal = state["python"]
    random.setstate((version, tuple(words), normal))
    numpy_words = held["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", numpy_words, *state["numpy"]))  # noqa: NPY002 - as above
    torch.set_rng_state(held["torch"])


def below(prefix: str, held: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in held.items()
        if name.startswith(prefix)
    }
