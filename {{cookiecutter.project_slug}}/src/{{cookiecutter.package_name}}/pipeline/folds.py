"""Evaluate forecasters as they would have performed over time.

Rolling-origin evaluation: for each fold, oldest first, every forecaster is fitted to what was known
at the start of the fold, and forecasts from each of its origins with what was known then. Tashman,
Out-of-sample tests of forecasting accuracy, International Journal of Forecasting 16 (2000).
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..shared.console import AppError
from .errors import measures, naive_error
from .forecasters import fit_all
from .series import QUANTILES, Floats, Series, load
from .versions import digest, made_by
from .work import Work
from .writing import replace_json, replace_table

LARGEST = 60
"""Most origins in a fold, by default."""

JUDGED = 0.4
"""Share of the periods, the newest, that all folds take together by default."""

NAMES = ("fold", "forecaster", "origin", "step", "date", *QUANTILES, "value")
"""The columns of folds.csv: one row per forecaster, origin and step."""


@dataclass(frozen=True)
class Fold:
    """Forecasts [origins, steps, quantiles] by forecaster, and the actual values.

    `truths` is [origins, steps]; `scale` the error of the one-step naive forecast before.
    """

    known: Series
    origins: Sequence[int]
    truths: Floats
    scale: float
    forecasts: Mapping[str, Floats]

    def measures(self, forecaster: str) -> dict[str, Floats]:
        """Return every measure of every forecast [origins, steps] of a forecaster."""
        return measures(self.forecasts[forecaster], self.truths, self.scale)


def evaluate(work: Work, asked: argparse.Namespace) -> list[str]:
    """Evaluate the forecasters and write the results; raises AppError."""
    series = load(work)
    size = asked.fold_size or default_size(len(series), asked.folds, asked.horizon)
    found = [
        fold(series, origins, asked.model, asked.horizon, asked.seed)
        for origins in rolling(len(series), asked.folds, size, asked.horizon)
    ]
    report = {
        **made_by(work, digest(work.path("data/features.csv")), asked),
        "folds": [told(number, one) for number, one in enumerate(found, start=1)],
        "forecasters": {name: summary(found, name) for name in found[0].forecasts},
    }
    report["beats_baselines"] = better(report["forecasters"], asked.model)
    file, table = work.path("artifacts/evaluation.json"), work.path("artifacts/folds.csv")
    replace_table(table, NAMES, rows(series, found))
    replace_json(file, report)
    return [f"{file}, {table}", *lines(report["forecasters"])]


def default_size(periods: int, folds: int, horizon: int) -> int:
    return max(1, min(LARGEST, (round(periods * JUDGED) - horizon) // folds))


def rolling(periods: int, folds: int, size: int, horizon: int) -> list[range]:
    """Return the origins of each fold: the newest whose whole path is known, oldest fold first.

    Raises AppError if there are not enough.
    """
    last = periods - horizon
    first = last - folds * size
    if first < 1:
        raise AppError(
            f"{folds} folds of {size} origins and {horizon} steps need more than the {periods}"
            " periods there are; reduce --folds, --fold-size or --horizon"
        )
    return [range(start, start + size) for start in range(first, last, size)]


def fold(series: Series, origins: range, model: str, horizon: int, seed: int) -> Fold:
    """Return the forecasts of one fold by forecasters fitted to what was known at its start."""
    known = series.known(origins[0] + 1)
    targets = np.array(origins)[:, np.newaxis] + np.arange(1, horizon + 1)
    fitted = fit_all(model, known, horizon, seed)
    return Fold(
        known,
        origins,
        series.values[targets],
        naive_error(known.values),
        {name: forecaster(series, origins) for name, forecaster in fitted.items()},
    )


def told(number: int, one: Fold) -> dict[str, Any]:
    """Return a fold in the form of the report."""
    dates = [str(one.known.date(origin)) for origin in (one.origins[0], one.origins[-1])]
    return {
        "fold": number,
        "fitted": len(one.known),
        "origins": {"count": len(one.origins), "first": dates[0], "last": dates[1]},
        "scale": one.scale,
        "forecasters": {name: means(one.measures(name)) for name in one.forecasts},
    }


def summary(found: Sequence[Fold], forecaster: str) -> dict[str, Any]:
    """Return a forecaster's measures over all folds, and at each step."""
    each = [one.measures(forecaster) for one in found]
    together = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
    steps = [
        {"step": step, **means({name: held[:, step - 1] for name, held in together.items()})}
        for step in range(1, together["mase"].shape[1] + 1)
    ]
    return {**means(together), "steps": steps}


def means(found: Mapping[str, Floats]) -> dict[str, float]:
    return {name: float(held.mean()) for name, held in found.items()}


def better(found: Mapping[str, Mapping[str, Any]], model: str) -> dict[str, bool]:
    """Return, for each measure of which less is better, whether the model beats all others."""
    return {
        measure: all(
            found[model][measure] < other[measure] for name, other in found.items() if name != model
        )
        for measure in ("mase", "pinball")
    }


def rows(series: Series, found: Sequence[Fold]) -> Iterator[list[object]]:
    """Yield the rows of folds.csv."""
    for number, one in enumerate(found, start=1):
        for name, forecasts in one.forecasts.items():
            for index, origin in enumerate(one.origins):
                for step, quantiles in enumerate(forecasts[index].tolist(), start=1):
                    dates = [str(series.date(origin)), step, str(series.date(origin + step))]
                    truth = float(one.truths[index, step - 1])
                    yield [number, name, *dates, *quantiles, truth]


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the measures of each forecaster, one per line."""
    width = max(map(len, found))
    return [
        f"{name.ljust(width)}  MASE {one['mase']:.3f}  pinball {one['pinball']:.3f}"
        f"  in the 80 % interval {one['coverage']:.0%}"
        for name, one in found.items()
    ]
