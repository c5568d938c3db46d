"""The daily cost of a policy on held-out days, compared with two fixed policies.

All policies go through the same episodes, which do not overlap. The intervals are percentiles of
the bootstrap over episodes: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..artifacts import TargetMetrics
from ..problem import FEATURES
from .environment import EPISODE, Days, Umbrella

SCORE = "cost"
UNIT = "a day"
RESAMPLES = 10_000
LEVEL = 0.95
"""The confidence level of the intervals."""
SEED = 2026

Policy: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.bool_]]
"""For features [n, features], returns on which days to carry the umbrella [n]."""


def never(features: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.zeros(len(features), dtype=np.bool_)


def if_it_rained(features: NDArray[np.float32]) -> NDArray[np.bool_]:
    return features[:, list(FEATURES).index("rained")] > 0


FIXED: Mapping[str, Policy] = {"never": never, "if_it_rained": if_it_rained}


DIGITS = 9
"""Decimals to keep; smaller differences are rounding errors of sums, not savings."""


@dataclass(frozen=True)
class Interval:
    """A mean over episodes, and its confidence interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Interval":
        """Return the interval of the mean of values [episodes]."""
        drawn = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
        tails = (1 - LEVEL) / 2
        low, high = np.quantile(values[drawn].mean(axis=1), [tails, 1 - tails])
        return cls(float(values.mean()), float(low), float(high))

    def told(self, name: str) -> dict[str, float]:
        """Return its three numbers, to DIGITS decimals, under keys that start with a name."""
        told = {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}
        return {each: round(value, DIGITS) + 0.0 for each, value in told.items()}


def costs(policy: Policy, known: Days) -> NDArray[np.float64]:
    """Return the daily cost of each episode [episodes], with the days cut into episodes."""
    environment = Umbrella(known)
    starts = range(0, len(known) - EPISODE, EPISODE)
    whole = set(known.starts(EPISODE))
    return np.array([episode(policy, environment, start) for start in starts if start in whole])


def episode(policy: Policy, environment: Umbrella, start: int) -> float:
    """Return the daily cost of an episode."""
    seen, _ = environment.reset(options={"start": start})
    spent, over = 0.0, False
    while not over:
        action = np.int64(policy(seen[np.newaxis])[0])
        seen, reward, _, over, _ = environment.step(action)
        spent -= float(reward)
    return spent / environment.length


def evaluate(policy: Policy, known: Days) -> TargetMetrics:
    """Return the cost of a policy and of each fixed one, and how much it saves over that one.

    It is better than a fixed policy if the whole interval of what it saves is above 0.
    """
    mine = costs(policy, known)
    model = Interval.of(mine).told(SCORE) | {"episodes": float(len(mine))}
    theirs = {name: costs(fixed, known) for name, fixed in FIXED.items()}
    baselines = {
        name: Interval.of(spent).told(SCORE) | Interval.of(spent - mine).told("saved")
        for name, spent in theirs.items()
    }
    return TargetMetrics(
        kind="probability",
        unit=UNIT,
        score=SCORE,
        model=model,
        baselines=baselines,
        beats_baselines=all(told["saved_low"] > 0 for told in baselines.values()),
    )
