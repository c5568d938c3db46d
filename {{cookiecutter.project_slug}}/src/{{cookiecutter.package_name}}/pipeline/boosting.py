"""Quantile regression by gradient boosting, one model for all steps.

Direct forecasts: the step is an input, so that no forecast depends on another, and the interval of
each step is learned for that step. Ben Taieb, Bontempi, Atiya and Sorjamaa, A review and comparison
of strategies for multi-step ahead time series forecasting, Expert Systems with Applications 39
(2012).

GradientBoostingRegressor instead of the faster HistGradientBoostingRegressor, because skl2onnx 1.20
cannot convert the latter with onnx 1.23; it also gives the same trees on any number of cores.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..shared.console import AppError
from ..shared.definitions import Estimator
from ..shared.definitions import Floats as AnyFloats
from ..shared.formats import onnx
from . import features
from .series import QUANTILES, Floats, Series, ordered

INPUTS = (*features.FEATURES, "step", "target_season_sin", "target_season_cos")
"""The inputs of a model: the features of the origin, the step, and the season of the target."""

PACKAGES = ("scikit-learn", "skl2onnx", "onnx")

FEWEST = 30
"""Origins with a known outcome that a model needs at least."""


def fit(known: Series, horizon: int, seed: int) -> dict[str, Estimator]:
    """Return an estimator for each quantile, fitted to all steps of all known origins.

    Raises AppError if there are too few.
    """
    origins, steps = pairs(known, horizon)
    if len(set(origins)) < FEWEST:
        raise AppError(
            f"{len(set(origins))} {known.work.length.word}s to fit to; {FEWEST} are needed:"
            " fetch more, or reduce --folds, --fold-size or --backfill"
        )
    asked, truths = inputs(known, origins, steps), known.values[np.add(origins, steps)]
    fitted = {name: estimator(level, seed) for name, level in QUANTILES.items()}
    for one in fitted.values():
        one.fit(asked, truths)
    return fitted


def pairs(known: Series, horizon: int) -> tuple[list[int], list[int]]:
    """Return all pairs of an origin and a step whose outcome is known."""
    found = [
        (origin, step)
        for origin in known.origins()
        for step in range(1, horizon + 1)
        if origin + step < len(known)
    ]
    return [origin for origin, _ in found], [step for _, step in found]


def estimator(level: float, seed: int) -> Estimator:
    """Return an unfitted estimator of a quantile: small trees, each on a fraction of the pairs.

    The pairs of one origin are so similar that a fraction is enough.
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


def inputs(series: Series, origins: Sequence[int], steps: Sequence[int]) -> NDArray[np.float32]:
    """Return the inputs of a model [n, INPUTS] for pairs of an origin and a step."""
    targets = np.add(origins, steps)
    seasons = np.array([features.season(series.date(one)) for one in range(max(targets) + 1)])
    columns = [series.features[list(origins)], np.array(steps)[:, np.newaxis], seasons[targets]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def values(
    estimators: Mapping[str, Estimator], series: Series, origins: Sequence[int], horizon: int
) -> Floats:
    """Return the forecasts [origins, steps, quantiles] of fitted estimators."""
    asked = inputs(series, *grid(origins, horizon))
    return shaped(series, {name: one.predict(asked) for name, one in estimators.items()}, horizon)


def export(estimators: Mapping[str, Estimator], horizon: int) -> bytes:
    """Return the estimators as one ONNX graph with an output for each quantile."""
    del horizon  # the graph takes any step, and is only used for those it was fitted to
    from ..shared.export import export as to_graph  # noqa: PLC0415 - only here is anything converted

    return to_graph(estimators, len(INPUTS))


def run(content: bytes, series: Series, origins: Sequence[int], horizon: int) -> Floats:
    """Return the forecasts [origins, steps, quantiles] of an exported model."""
    asked = inputs(series, *grid(origins, horizon))
    return shaped(series, onnx(content, list(QUANTILES))(asked), horizon)


def grid(origins: Sequence[int], horizon: int) -> tuple[list[int], list[int]]:
    """Return every pair of an origin and a step."""
    steps = range(1, horizon + 1)
    return [origin for origin in origins for _ in steps], [step for _ in origins for step in steps]


def shaped(series: Series, found: Mapping[str, AnyFloats], horizon: int) -> Floats:
    """Reshape forecasts by quantile [origins x steps] to [origins, steps, quantiles], sorted."""
    table: NDArray[np.floating] = np.stack([found[name] for name in QUANTILES], axis=-1)
    return ordered(series, table.reshape(-1, horizon, len(QUANTILES)))
