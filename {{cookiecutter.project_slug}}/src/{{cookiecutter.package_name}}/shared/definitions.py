"""The parts of a problem: its features, targets, baselines and tiers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

Row = TypeVar("Row", bound=BaseModel)
Kind: TypeAlias = Literal["probability", "quantity"]
Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

Feature: TypeAlias = Callable[[Sequence[Row]], float]
"""Reads one number from a history, whose last row is the newest."""


@dataclass(frozen=True)
class Target(Generic[Row]):
    """One thing to forecast.

    `truth` reads what happened from the target's row: 0 or 1 for a probability, the value in
    `unit` for a quantity, or None if it is not known (the row is then left out of training).
    """

    name: str
    kind: Kind
    unit: str
    truth: Callable[[Row], float | None]


Forecaster: TypeAlias = Callable[[Row], float]
"""Forecasts one target from the newest row alone."""

Baseline: TypeAlias = Callable[[Sequence[Row], Target[Row]], Forecaster[Row]]
"""Makes a forecaster of a target from the training rows: what a model has to beat."""


class Estimator(Protocol):
    """A scikit-learn classifier (probability) or regressor (quantity) that skl2onnx converts."""

    def fit(self, features: Floats, truths: Floats) -> object:
        """Fit to `features` [n, features] and `truths` [n]."""

    def predict(self, features: Floats) -> Floats:
        """Return the quantity [n], or a classifier's class [n]."""


@dataclass(frozen=True)
class Tier:
    """One way to model every target: `estimator` makes an unfitted one for a kind and a seed."""

    description: str
    estimator: Callable[[Kind, int], Estimator]


@dataclass(frozen=True)
class Interface:
    """What the models of a tier take and give, by name and in order, and what is from 0 to 1.

    Of a strict tier no model is promoted that is not better than its baselines, whatever the
    settings allow.
    `trained` says what to do for another model, where the command of the API's tiers makes none.
    """

    features: Sequence[str]
    targets: Sequence[str]
    strict: bool = False
    trained: str = ""
    probabilities: Sequence[str] = ()
