"""Who forecasts: a model, and the two forecasts without one that it has to beat.

A forecaster is fitted to a series as it was known at some time, and then forecasts from origins of
a series that may go on: arrays [origins, steps, quantiles], of which those of one step never cross.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..shared.console import AppError
from . import boosting, temporal
from .series import QUANTILES, Floats, Series

Forecaster: TypeAlias = Callable[[Series, Sequence[int]], Floats]
"""Forecasts from origins of a series."""

Fitting: TypeAlias = Callable[[Series, int, int], Forecaster]
"""Makes a forecaster of a known series for a horizon, with a seed."""


Fitted: TypeAlias = Any
"""What a kind of model makes of a series, and only that kind can use."""


class Model(Protocol):
    """A kind of model: how it is fitted, and how what was fitted is written and read."""

    @property
    def INPUTS(self) -> Sequence[str]:  # noqa: N802 - modules are of this kind, and name constants
        """Return what it takes."""

    @property
    def PACKAGES(self) -> Sequence[str]:  # noqa: N802 - the same
        """Return the packages that fit it."""

    def fit(self, known: Series, horizon: int, seed: int, /) -> Fitted:
        """Return what was fitted; raises AppError."""

    def values(
        self, fitted: Fitted, series: Series, origins: Sequence[int], horizon: int, /
    ) -> Floats:
        """Return forecasts [origins, steps, quantiles]."""

    def export(self, fitted: Fitted, horizon: int, /) -> bytes:
        """Return an ONNX model."""

    def run(
        self, content: bytes, series: Series, origins: Sequence[int], horizon: int, /
    ) -> Floats:
        """Return forecasts of an ONNX model; raises anything if it is none."""


MODELS: Mapping[str, Model] = {"gbm": boosting, "tft": temporal}

LEVELS = np.array(list(QUANTILES.values()))
MIDDLE = list(QUANTILES).index("q50")


def fitting(model: str) -> Fitting:
    """Return what fits a model."""
    kind = MODELS[model]

    def fit(known: Series, horizon: int, seed: int) -> Forecaster:
        fitted = kind.fit(known, horizon, seed)
        return lambda series, origins: kind.values(fitted, series, origins, horizon)

    return fit


def naive(known: Series, horizon: int, seed: int) -> Forecaster:
    """Forecast the last value, and around it what its changes were in as many steps."""
    del seed
    spreads = np.array(
        [around(known.values[step:] - known.values[:-step]) for step in range(1, horizon + 1)]
    )

    def forecast(series: Series, origins: Sequence[int]) -> Floats:
        last = series.values[list(origins)]
        return series.bounded(last[:, np.newaxis, np.newaxis] + spreads[np.newaxis])

    return forecast


def seasonal_naive(known: Series, horizon: int, seed: int) -> Forecaster:
    """Forecast the value of a year before, and around it what its changes were in a year.

    Raises AppError if less than a year and a tenth is known.
    """
    del seed
    year = known.work.length.year
    if len(known) < (needed := math.ceil(1.1 * year)):
        raise AppError(
            f"{len(known)} {known.work.length.word}s are known there, and the seasonal"
            f" forecast needs {needed}; fetch more, or reduce --folds, --fold-size or --backfill"
        )
    spread = around(known.values[year:] - known.values[:-year])

    def forecast(series: Series, origins: Sequence[int]) -> Floats:
        ahead = np.arange(1, horizon + 1)
        back = ahead - year * np.ceil(ahead / year).astype(int)
        before = series.values[np.array(origins)[:, np.newaxis] + back]
        return series.bounded(before[:, :, np.newaxis] + spread)

    return forecast


def around(changes: Floats) -> Floats:
    """Return the quantiles of changes, but none in the middle, where the forecast itself stays."""
    found: Floats = np.quantile(changes, LEVELS)
    found[MIDDLE] = 0.0
    return np.sort(found)


BASELINES: Mapping[str, Fitting] = {"naive": naive, "seasonal-naive": seasonal_naive}


def fit_all(model: str, known: Series, horizon: int, seed: int) -> dict[str, Forecaster]:
    """Return a model and the baselines, fitted; raises AppError."""
    fittings = {model: fitting(model), **BASELINES}
    return {name: fit(known, horizon, seed) for name, fit in fittings.items()}
