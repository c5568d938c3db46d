"""Forecast the periods after the last known one."""

import argparse
from collections.abc import Iterator

from . import fitting
from .forecasters import BASELINES
from .series import QUANTILES, Floats, Series, load
from .work import Work
from .writing import replace_table

NAMES = ("forecaster", "origin", "step", "date", *QUANTILES)
"""The columns of predictions.csv: one row per forecaster and step."""


def predict(work: Work, asked: argparse.Namespace) -> list[str]:
    """Write the paths of the model and of the baselines; raises AppError."""
    series = load(work)
    facts, content = fitting.read(work, asked.horizon)
    origin = [len(series) - 1]
    model = str(facts["model"])
    found = {model: fitting.forecasts(model, content, series, origin, asked.horizon)[0]}
    for name, baseline in BASELINES.items():
        found[name] = baseline(series, asked.horizon, int(facts["seed"]))(series, origin)[0]
    file = work.path("artifacts/predictions.csv")
    replace_table(file, NAMES, rows(series, found))
    first, last = series.date(origin[0] + 1), series.date(origin[0] + asked.horizon)
    return [f"{file}: {asked.horizon} {work.length.word}s, {first} to {last}"]


def rows(series: Series, found: dict[str, Floats]) -> Iterator[list[object]]:
    """Yield the rows of predictions.csv, from forecasts [steps, quantiles]."""
    origin = len(series) - 1
    for name, path in found.items():
        for step, quantiles in enumerate(path.tolist(), start=1):
            yield [
                name,
                str(series.date(origin)),
                step,
                str(series.date(origin + step)),
                *quantiles,
            ]
