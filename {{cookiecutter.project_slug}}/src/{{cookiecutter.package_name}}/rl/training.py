"""Train a policy by proximal policy optimisation; run as `python -m <package>.rl.training`.

Schulman et al., "Proximal Policy Optimization Algorithms" (2017), arXiv 1707.06347, as
stable-baselines3 has it. After each update all that the next one depends on is kept, so that a
training that was killed goes on from there, and ends, on a CPU, with the same weights to the bit.
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
"""Episodes that are lived through at once: the network is asked for all of them together."""

OPTIONS: Mapping[str, Any] = {
    # What is done today changes no later day, so no later day's cost comes of it.
    "gamma": 0.0,
    "learning_rate": 1e-3,
    "n_steps": 64,
    "batch_size": 64,
    "n_epochs": 5,
    "ent_coef": 0.05,
}
"""Chosen on 2014, trained on the years before. Nothing of it depends on how long the training is to
be: n steps and n more are 2n."""

TOLERANCE = 1e-4
"""How far the exported policy may be from the trained one; both have float32."""

Said: TypeAlias = Callable[[float, str], None]
"""Told how far it is, from 0 to 1, and in words; what it raises ends the training."""


class Standardised(BaseFeaturesExtractor):  # type: ignore[misc] # read as Any
    """Features less their mean, over their spread, on the training days."""

    def __init__(self, space: spaces.Box, features: Any) -> None:  # noqa: ANN401 - torch's copies
        super().__init__(space, features.shape[1])
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
        spread = np.maximum(features.std(axis=0), np.float32(1e-6))
        self.register_buffer("scale", torch.from_numpy(spread))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise features [n, features]."""
        return (features - self.mean) / self.scale


class Scalars(KVWriter):  # type: ignore[misc] # read as Any
    """Hands the numbers that the library logs to a writer."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer

    def write(
        self,
        key_values: Mapping[str, Any],
        key_excluded: Mapping[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Write those that are numbers, and meant for TensorBoard."""
        for key, value in key_values.items():
            if (
                isinstance(value, int | float | np.number)
                and "tensorboard" not in key_excluded[key]
            ):
                self.writer.add_scalar(key, value, step)

    def close(self) -> None:
        """Leave that to whom the writer is of."""


class Keeper(BaseCallback):  # type: ignore[misc] # read as Any
    """Keeps a checkpoint before each stretch of days, and says how far the training is."""

    def __init__(self, keep: Callable[[], None]) -> None:
        super().__init__()
        self.keep = keep

    def _on_rollout_start(self) -> None:
        self.keep()

    def _on_step(self) -> bool:
        return True


@dataclass(frozen=True)
class Run:
    """One training: for how long, from which random numbers, on which days, where it keeps what."""

    steps: int
    seed: int
    training: Days
    places: Places

    @property
    def plan(self) -> dict[str, Any]:
        """Return what has to be the same for going on from a checkpoint."""
        days_ = hashlib.sha256(self.training.features.tobytes() + self.training.rained.tobytes())
        options = {**OPTIONS, "hidden": list(HIDDEN)}
        return {"seed": self.seed, "days": days_.hexdigest(), "options": options}


def train(wanted: Run, said: Said, *, resume: bool = False) -> PPO:
    """Return the trained algorithm; goes on from its own checkpoint where there is one.

    With `resume`, a first checkpoint is that of the newest other training that this one continues.

    Raises AppError if a checkpoint cannot be written.
    """
    torch.set_num_threads(1)  # a network this small only waits for more
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
    """Return an untrained algorithm, and let all random numbers begin at the seed."""
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
    """Return what was made already; the library asks for what makes one."""
    return environment


def went_on(model: PPO, environments: Sequence[Umbrella], wanted: Run, *, resume: bool) -> bool:
    """Let the algorithm be where a checkpoint left off; tell whether there was one."""
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
    """Log for TensorBoard; what one that was killed had logged after its checkpoint is void."""
    writer = SummaryWriter(str(folder), purge_step=model.num_timesteps + 1)
    model.set_logger(Logger(str(folder), [Scalars(writer)]))
    return writer


def network(model: PPO) -> Network:
    """Return the numbers of the trained policy, as far as they choose actions."""
    taken = model.policy.features_extractor
    linear = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    layers = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in linear
        if isinstance(layer, nn.Linear)
    ]
    return Network(taken.mean.numpy(), taken.scale.numpy(), layers)


def check_export(model: PPO, made: Network, features: np.typing.NDArray[np.float32]) -> None:
    """Refuse an export that decides otherwise than the policy that it was made from."""
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
    """Log for TensorBoard what the policy costs on the held-out days, beside the fixed ones."""
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
