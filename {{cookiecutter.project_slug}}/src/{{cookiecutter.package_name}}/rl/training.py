"""Train a policy by proximal policy optimisation; run as `python -m <package>.rl.training`.

Schulman et al., "Proximal Policy Optimization Algorithms" (2017), arXiv 1707.06347, as implemented
by stable-baselines3. A checkpoint before each update holds all that later updates depend on, so
that a killed run resumes there and ends, on a CPU, with exactly the same weights.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from ..artifacts import Metadata
from ..settings import Settings, load
from ..shared import formats
from ..shared.console import AppError, progress, run
from . import checkpoint, policy
from .environment import Days, Umbrella, days
from .kinds import SEED, STEPS, TrainPolicy
from .places import Places, newest
from .policy import Network, Training
from .tiers import TARGET

HIDDEN: tuple[int, ...] = (16,)

SIDE_BY_SIDE = 8
"""Episodes that are simulated in parallel, so that the network decides on a batch of days."""

OPTIONS: Mapping[str, Any] = {
    # An action changes no later day, so later costs do not depend on it.
    "gamma": 0.0,
    "learning_rate": 1e-3,
    "n_steps": 64,
    "batch_size": 64,
    "n_epochs": 5,
    "ent_coef": 0.05,
}
"""Chosen on 2014, with training on the years before. None depends on the length of a run: n steps
and n more give the same policy as 2n."""

TOLERANCE = 1e-4
"""Largest accepted difference between the exported policy and the trained one, both in float32."""

Said: TypeAlias = Callable[[float, str], None]
"""Receives the progress, from 0 to 1, and a text; an exception ends the training."""


class Standardised(BaseFeaturesExtractor):  # type: ignore[misc] # read as Any
    """Features minus their mean, divided by their standard deviation, on the training days."""

    def __init__(self, space: spaces.Box, features: Any) -> None:  # noqa: ANN401 - torch's copies
        super().__init__(space, features.shape[1])
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
        spread = np.maximum(features.std(axis=0), np.float32(1e-6))
        self.register_buffer("scale", torch.from_numpy(spread))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise features [n, features]."""
        return (features - self.mean) / self.scale


class Scalars(KVWriter):  # type: ignore[misc] # read as Any
    """Passes the numbers that the library logs to a writer."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer

    def write(
        self,
        key_values: Mapping[str, Any],
        key_excluded: Mapping[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Write the numbers that are meant for TensorBoard."""
        for key, value in key_values.items():
            if (
                isinstance(value, int | float | np.number)
                and "tensorboard" not in key_excluded[key]
            ):
                self.writer.add_scalar(key, value, step)

    def close(self) -> None:
        """Leave the writer open: whoever made it closes it."""


class Keeper(BaseCallback):  # type: ignore[misc] # read as Any
    """Saves a checkpoint before each rollout, which also reports progress."""

    def __init__(self, keep: Callable[[], None]) -> None:
        super().__init__()
        self.keep = keep

    def _on_rollout_start(self) -> None:
        self.keep()

    def _on_step(self) -> bool:
        return True


@dataclass(frozen=True)
class Run:
    """One training run: its length, seed, days and files."""

    steps: int
    seed: int
    training: Days
    places: Places

    @property
    def plan(self) -> dict[str, Any]:
        """Return what has to be the same to resume from a checkpoint."""
        days_ = hashlib.sha256(self.training.features.tobytes() + self.training.rained.tobytes())
        options = {**OPTIONS, "hidden": list(HIDDEN)}
        return {"seed": self.seed, "days": days_.hexdigest(), "options": options}


def train(wanted: Run, said: Said, *, resume: bool = False) -> PPO:
    """Return the trained algorithm; resume from the run's own checkpoint if there is one.

    With `resume`, a run without one starts from that of the newest other run with the same plan.

    Raises AppError if a checkpoint cannot be written.
    """
    torch.set_num_threads(1)  # more would only slow down such a small network
    environments = [Umbrella(wanted.training) for _ in range(SIDE_BY_SIDE)]
    model = learner(environments, wanted)
    begun = went_on(model, environments, wanted, resume=resume)
    writer = log_to(model, wanted.places.log)

    def keep() -> None:
        checkpoint.write(wanted.places.checkpoint, model, environments, wanted.plan)
        said(min(1.0, model.num_timesteps / wanted.steps), f"{model.num_timesteps} days simulated")

    try:
        if model.num_timesteps < wanted.steps:
            left = wanted.steps - model.num_timesteps
            model.learn(left, Keeper(keep), reset_num_timesteps=not begun)
        keep()
    finally:
        writer.close()
    return model


def learner(environments: Sequence[Umbrella], wanted: Run) -> PPO:
    """Return an untrained algorithm, and seed all random generators."""
    network = {
        "net_arch": list(HIDDEN),
        "activation_fn": nn.Tanh,
        "features_extractor_class": Standardised,
        "features_extractor_kwargs": {"features": wanted.training.features},
    }
    inside = DummyVecEnv([partial(same, one) for one in environments])
    options = dict(OPTIONS)
    return PPO(
        "MlpPolicy", inside, seed=wanted.seed, policy_kwargs=network, device="cpu", **options
    )


def same(environment: Umbrella) -> Umbrella:
    """Return an existing environment; the library wants a function that makes one."""
    return environment


def went_on(model: PPO, environments: Sequence[Umbrella], wanted: Run, *, resume: bool) -> bool:
    """Resume from a checkpoint; return whether there was one."""
    files = [wanted.places.checkpoint]
    files += newest(wanted.places.folder) if resume else []
    for file in files:
        try:
            state, held = checkpoint.read(file)
        except checkpoint.CheckpointError as error:
            if file.exists():
                progress(f"{error}: skipped")
            continue
        if state["plan"] == json.loads(json.dumps(wanted.plan)) and state["steps"] <= wanted.steps:
            checkpoint.restore(model, environments, state, held)
            progress(f"continuing from {file}, at {state['steps']} days")
            return True
    return False


def log_to(model: PPO, folder: Path) -> SummaryWriter:
    """Log for TensorBoard, discarding what a killed run logged after its checkpoint."""
    writer = SummaryWriter(str(folder), purge_step=model.num_timesteps + 1)
    model.set_logger(Logger(str(folder), [Scalars(writer)]))
    return writer


def network(model: PPO) -> Network:
    """Return the parameters of the trained policy that choose actions."""
    taken = model.policy.features_extractor
    linear = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    layers = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in linear
        if isinstance(layer, nn.Linear)
    ]
    return Network(taken.mean.numpy(), taken.scale.numpy(), layers)


def check_export(model: PPO, made: Network, features: np.typing.NDArray[np.float32]) -> None:
    """Refuse an export that decides differently from the policy that it was made from."""
    with torch.no_grad():
        given = torch.from_numpy(features)
        expected = model.policy.get_distribution(given).distribution.probs[:, 1].numpy()
    found = formats.onnx(policy.export(made), [TARGET])(features)[TARGET]
    if not np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        worst = abs(found - expected).max()
        raise AppError(f"the exported policy is off by {worst:.3g}; nothing was written")


def train_and_publish(settings: Settings, asked: TrainPolicy, name: str, said: Said) -> Metadata:
    """Train a policy and write it as an artifact; return its metadata.

    Raises AppError if the days cannot be read, or something cannot be written.
    """
    started = time.perf_counter()
    training, held_out = days(settings.data_file)
    wanted = Run(asked.steps, asked.seed, training, Places.of(settings, name))
    model = train(wanted, said, resume=asked.resume)
    made = network(model)
    check_export(model, made, held_out.features)
    how = Training(asked.seed, time.perf_counter() - started, training, held_out)
    metadata = policy.publish(settings, made, how)
    log_worth(wanted.places.log, metadata, model.num_timesteps)
    return metadata


def log_worth(folder: Path, metadata: Metadata, steps: int) -> None:
    """Log for TensorBoard the cost of the policies on the held-out days."""
    measured = metadata.metrics[TARGET]
    with SummaryWriter(str(folder)) as writer:
        for name, told in {"policy": measured.model, **measured.baselines}.items():
            writer.add_scalar(f"held_out/{name}", told[measured.score], steps)


def main() -> None:
    options = parse()
    asked = TrainPolicy(steps=options.steps, seed=options.seed, resume=options.resume)
    metadata = train_and_publish(
        load(Settings), asked, options.run, lambda done, said: progress(f"{done:4.0%}  {said}")
    )
    print(metadata.model_dump_json(indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a policy; the served one is not replaced.")
    parser.add_argument("--steps", type=int, default=STEPS, help="days to simulate")
    parser.add_argument("--seed", type=int, default=SEED, help="random seed (%(default)s)")
    parser.add_argument("--run", default="by-hand", help="the run to start or continue")
    parser.add_argument("--resume", action="store_true", help="continue the newest other run")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
