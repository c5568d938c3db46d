"""The environment of a policy: each morning, carry an umbrella or leave it.

A policy sees what a forecast sees, the weather up to the day before. Carrying the umbrella on a dry
day costs VAIN, leaving it on a rainy one WET. An episode is a stretch of past days. The newest
quarter of the days is held out (`samples.split`) from training.

The interface is Gymnasium's: Towers et al., "Gymnasium: A Standard Interface for Reinforcement
Learning Environments" (2024), arXiv 2407.17032.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..artifacts import Part
from ..problem import FEATURES, HISTORY, Key, step
from ..samples import Samples, samples, split
from ..shared.console import AppError
from ..shared.rowfiles import read

RAIN = "rain"
"""The target that tells whether a day was rainy."""

VAIN, WET = 1.0, 2.0
"""The cost of carrying the umbrella on a dry day, and of leaving it on a rainy one."""

EPISODE = 14
"""Days in an episode."""

FARTHEST = 1000.0
"""A bound on the absolute value of every feature."""

LEAVE, CARRY = 0, 1
"""The actions."""


@dataclass(frozen=True)
class Days:
    """Days to decide on, oldest first.

    `features` [n, features] are known the evening before; `rained` [n] is the outcome.
    """

    keys: tuple[Key, ...]
    features: NDArray[np.float32]
    rained: NDArray[np.bool_]

    @classmethod
    def of(cls, known: Samples) -> "Days":
        return cls(tuple(known.keys), known.features, known.truths[RAIN] > 0)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def part(self) -> Part:
        return Part(count=len(self), first=str(self.keys[0]), last=str(self.keys[-1]))

    def starts(self, length: int) -> list[int]:
        """Return where a stretch of this length can start: no day may be missing in or after it."""
        return [
            first
            for first, last in enumerate(self.keys[length:])
            if step(self.keys[first], length) == last
        ]


def days(file: Path) -> tuple[Days, Days]:
    """Return the training days in a file of observations, and the held-out days after them.

    Raises AppError if the file cannot be read, or has no full episode for one of the two.
    """
    training, held_out = (Days.of(part) for part in split(samples(read(file))))
    if not training.starts(EPISODE) or not held_out.starts(EPISODE):
        raise AppError(
            f"{file} has {len(training)} days for training and {len(held_out)} for evaluation, and"
            f" needs {EPISODE + HISTORY} without a gap for each"
        )
    return training, held_out


def cost(carried: NDArray[np.bool_], rained: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(carried, np.where(rained, 0.0, VAIN), np.where(rained, WET, 0.0))


class Umbrella(gymnasium.Env[NDArray[np.float32], np.int64]):  # type: ignore[misc] # read as Any
    """A stretch of days with one decision each. The reward of a day is its negative cost."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - the interface has it so

    def __init__(self, known: Days, length: int = EPISODE) -> None:
        self.observation_space = spaces.Box(-FARTHEST, FARTHEST, (len(FEATURES),), np.float32)
        self.action_space = spaces.Discrete(2)
        self.days, self.length = known, length
        self._starts = known.starts(length)
        self._start, self._done, self._spent = self._starts[0], 0, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode on a random day, or on the day at index `options["start"]`."""
        super().reset(seed=seed)
        chosen = (options or {}).get("start")
        drawn = self._starts[int(self.np_random.integers(len(self._starts)))]
        self._start, self._done, self._spent = drawn if chosen is None else chosen, 0, 0.0
        return self._seen(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Simulate a day. An episode never terminates, and is truncated after its last day."""
        carried, rained = np.array(action == CARRY), self.days.rained[self._today]
        spent = float(cost(carried, rained))
        self._done, self._spent = self._done + 1, self._spent + spent
        over = self._done == self.length
        told = {"episode": {"r": -self._spent, "l": self.length, "t": 0.0}} if over else {}
        return self._seen(), -spent, False, over, {"cost": spent, **told}

    @property
    def _today(self) -> int:
        return self._start + self._done

    def _seen(self) -> NDArray[np.float32]:
        seen: NDArray[np.float32] = self.days.features[self._today].copy()
        return seen

    def state(self) -> dict[str, Any]:
        """Return all that its future depends on, in a form for JSON."""
        return {
            "start": self._start,
            "done": self._done,
            "spent": self._spent,
            "random": self.np_random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Adopt a state that `state` returned."""
        self._start, self._done, self._spent = state["start"], state["done"], state["spent"]
        self.np_random.bit_generator.state = state["random"]
