"""The forecasters: a model, and two baselines that it has to beat.

A forecaster is fitted to the known part of a series, and then forecasts from any origins, also
later ones: arrays [origins, steps, quantiles], in which the quantiles of a step never cross.
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
"""Fits a forecaster to a known series, for a horizon and with a seed."""


Fitted: TypeAlias = Any
"""The result of fitting a kind of model, opaque to all other code."""


class Model(Protocol):
    """A kind of model: how it is fitted, and how the result is written and read."""

    @property
    def INPUTS(self) -> Sequence[str]:  # noqa: N802 - modules are of this kind, and name constants
        """Return the names of its inputs."""

    @property
    def PACKAGES(self) -> Sequence[str]:  # noqa: N802 - the same
        """Return the packages that fit it."""

    def fit(self, known: Series, horizon: int, seed: int, /) -> Fitted:
        """Return the fitted model; raises AppError."""

    def values(
        self, fitted: Fitted, series: Series, origins: Sequence[int], horizon: int, /
    ) -> Floats:
        """Return forecasts [origins, steps, quantiles]."""

    def export(self, fitted: Fitted, horizon: int, /) -> bytes:
        """Return an ONNX model."""

    def run(
        self, content: bytes, series: Series, origins: Sequence[int], horizon: int, /
    ) -> Floats:
        """Return the forecasts of an ONNX model; raises any exception if it is none."""


MODELS: Mapping[str, Model] = {"gbm": boosting, "tft": temporal}

LEVELS = np.array(list(QUANTILES.values()))
MIDDLE = list(QUANTILES).index("q50")


def fitting(model: str) -> Fitting:
    """Return the function that fits a model."""
    kind = MODELS[model]

    def fit(known: Series, horizon: int, seed: int) -> Forecaster:
        fitted = kind.fit(known, horizon, seed)
        return lambda series, origins: kind.values(fitted, series, origins, horizon)

    return fit


def naive(known: Series, horizon: int, seed: int) -> Forecaster:
    """Forecast the last value, with the spread of past changes over as many steps."""
    del seed
    spreads = np.array(
        [around(known.values[step:] - known.values[:-step]) for step in range(1, horizon + 1)]
    )

    def forecast(series: Series, origins: Sequence[int]) -> Floats:
        last = series.values[list(origins)]
        return series.bounded(last[:, np.newaxis, np.newaxis] + spreads[np.newaxis])

    return forecast


def seasonal_naive(known: Series, horizon: int, seed: int) -> Forecaster:
    """Forecast the value of the previous year, with the spread of past changes over a year.

    Raises AppError if less than 1.1 years are known.
    """
    del seed
    year = known.work.length.year
    if len(known) < (needed := math.ceil(1.1 * year)):
        raise AppError(
            f"{len(known)} {known.work.length.word}s are known then; the seasonal"
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
    """Return the quantiles of changes, with 0 for the median: the forecast itself."""
    found: Floats = np.quantile(changes, LEVELS)
    found[MIDDLE] = 0.0
    return np.sort(found)


BASELINES: Mapping[str, Fitting] = {"naive": naive, "seasonal-naive": seasonal_naive}


def fit_all(model: str, known: Series, horizon: int, seed: int) -> dict[str, Forecaster]:
    """Return a model and the baselines, fitted; raises AppError."""
    fittings = {model: fitting(model), **BASELINES}
    return {name: fit(known, horizon, seed) for name, fit in fittings.items()}
