"""Quantile regression by gradient boosting, one model for all steps.

Direct forecasts: the step is an input, so that no forecast is made from another one, and the
interval of a step is the one that was learned for it. Ben Taieb, Bontempi, Atiya and Sorjamaa,
A review and comparison of strategies for multi-step ahead time series forecasting, Expert Systems
with Applications 39 (2012). Quantiles that cross are put in order: Chernozhukov, Fernández-Val and
Galichon, Quantile and Probability Curves Without Crossing, Econometrica 78 (2010).

GradientBoostingRegressor, and not the faster HistGradientBoostingRegressor, because skl2onnx 1.20
does not convert the latter beside onnx 1.23; it also gives the same trees for any number of cores.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ..console import AppError
from ..definitions import Estimator
from .series import QUANTILES, Floats, Series

FEWEST = 30
"""Origins with a known outcome below which no model is fitted."""


def fit(known: Series, horizon: int, seed: int) -> dict[str, Estimator]:
    """Return an estimator for each quantile, fitted to all steps of all origins that are known.

    Raises AppError where there are too few.
    """
    origins, steps = pairs(known, horizon)
    if len(set(origins)) < FEWEST:
        raise AppError(
            f"{len(set(origins))} {known.work.length.word}s to fit to, and {FEWEST} are needed:"
            " fetch more, or go less far back (--folds, --fold-size, --backfill)"
        )
    inputs, truths = known.inputs(origins, steps), known.values[np.add(origins, steps)]
    fitted = {name: estimator(level, seed) for name, level in QUANTILES.items()}
    for one in fitted.values():
        one.fit(inputs, truths)
    return fitted


def pairs(known: Series, horizon: int) -> tuple[list[int], list[int]]:
    """Return all origins and steps whose outcome is known."""
    found = [
        (origin, step)
        for origin in known.origins()
        for step in range(1, horizon + 1)
        if origin + step < len(known)
    ]
    return [origin for origin, _ in found], [step for _, step in found]


def estimator(level: float, seed: int) -> Estimator:
    """Return an unfitted estimator of a quantile: small trees, each on a few of the pairs.

    The pairs of one origin are much alike, so that few of them are enough.
    """
    from sklearn.ensemble import GradientBoostingRegressor  # noqa: PLC0415 - it takes a second

    made: Estimator = GradientBoostingRegressor(
        loss="quantile",
        alpha=level,
        n_estimators=80,
        learning_rate=0.06,
        max_depth=3,
        min_samples_leaf=20,
        subsample=0.15,
        max_features=0.5,
        random_state=seed,
    )
    return made


def values(
    estimators: Mapping[str, Estimator], series: Series, origins: Sequence[int], horizon: int
) -> Floats:
    """Return forecasts [origins, steps, quantiles] of fitted estimators."""
    inputs = series.inputs(*grid(origins, horizon))
    return ordered(series, [estimators[name].predict(inputs) for name in QUANTILES], horizon)


def grid(origins: Sequence[int], horizon: int) -> tuple[list[int], list[int]]:
    """Return each origin with each step."""
    steps = range(1, horizon + 1)
    return [origin for origin in origins for _ in steps], [step for _ in origins for step in steps]


def ordered(series: Series, found: Sequence[object], horizon: int) -> Floats:
    """Return quantiles' forecasts [origins x steps] as [origins, steps, quantiles], in order."""
    table: Floats = np.stack([np.asarray(one, dtype=np.float64) for one in found], axis=-1)
    return series.bounded(np.sort(table.reshape(-1, horizon, len(QUANTILES)), axis=-1))
