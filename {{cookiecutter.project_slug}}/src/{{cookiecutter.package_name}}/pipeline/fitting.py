"""Fit a model to all known data, and save it in a format that executes nothing when loaded."""

import argparse
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..shared.console import AppError
from ..shared.formats import FormatError
from .folds import Fold, fold, lines, means, rolling
from .forecasters import MODELS
from .series import Floats, Series, load
from .versions import digest, libraries, made_by
from .work import Work
from .writing import read_json, replace, replace_json

MODEL, FACTS = "artifacts/model.onnx", "artifacts/model.json"

HELD_OUT = 0.2
"""Share of the periods, the newest, that are held out to evaluate a model."""

TOLERANCE = 1e-3
"""Largest accepted relative difference between the exported model (float32) and the fitted one."""

COMPARED = 50
"""The newest origins, on which they are compared."""


def train(work: Work, asked: argparse.Namespace) -> list[str]:
    """Fit the model, compare its export with it, and write both files; raises AppError.

    The accuracy in the report is that of the same kind of model on held-out periods, the newest,
    fitted to those before them. The saved model is fitted to all.
    """
    series = load(work)
    judged = held_out(series, asked.model, asked.horizon, asked.seed)
    content = kept(asked.model, series, asked.horizon, asked.seed)
    facts = {
        **made_by(work, digest(work.path("data/features.csv")), asked),
        "file": MODEL.rsplit("/", 1)[-1],
        "sha256": hashlib.sha256(content).hexdigest(),
        "inputs": list(MODELS[asked.model].INPUTS),
        "fitted": {
            "count": len(series),
            "first": str(series.dates[0]),
            "last": str(series.dates[-1]),
        },
        "held_out": {
            "first_origin": str(series.date(judged.origins[0])),
            "last_origin": str(series.date(judged.origins[-1])),
            "forecasters": {name: means(judged.measures(name)) for name in judged.forecasts},
        },
        "libraries": libraries(MODELS[asked.model].PACKAGES),
    }
    replace(work.path(MODEL), content)
    replace_json(work.path(FACTS), facts)
    judgement = f"on the newest {len(judged.origins)} origins, fitted to the data before:"
    return [
        f"{work.path(MODEL)}, {len(content)} bytes",
        judgement,
        *lines(facts["held_out"]["forecasters"]),
    ]


def held_out(series: Series, model: str, horizon: int, seed: int) -> Fold:
    """Evaluate a model and the baselines on the newest origins; raises AppError."""
    size = max(1, round(len(series) * HELD_OUT) - horizon)
    return fold(series, rolling(len(series), 1, size, horizon)[0], model, horizon, seed)


def kept(model: str, series: Series, horizon: int, seed: int) -> bytes:
    """Return a model fitted to a whole series, as a file.

    Raises AppError if the file's forecasts differ from the model's.
    """
    kind = MODELS[model]
    fitted = kind.fit(series, horizon, seed)
    content = kind.export(fitted, horizon)
    origins = series.origins()[-COMPARED:]
    expected = kind.values(fitted, series, origins, horizon)
    found = forecasts(model, content, series, origins, horizon)
    if not np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        worst = np.abs(found - expected).max()
        raise AppError(f"the exported model is off by {worst:.3g}; nothing was written")
    return content


def forecasts(
    model: str, content: bytes, series: Series, origins: Sequence[int], horizon: int
) -> Floats:
    """Return the forecasts [origins, steps, quantiles] of a model's file; raises FormatError."""
    try:
        return MODELS[model].run(content, series, origins, horizon)
    except Exception as error:  # the file may contain anything, and so raise anything
        raise FormatError(f"this is not a model of this pipeline: {error}") from error


def read(work: Work, horizon: int) -> tuple[dict[str, Any], bytes]:
    """Return the facts about a series' model, and the model.

    Raises AppError if there is none, it is a different one, or it forecasts fewer steps.
    """
    file, again = work.path(MODEL), "run the stage train again"
    facts = read_json(work.path(FACTS), "train")
    try:
        content = file.read_bytes()
    except OSError:
        raise AppError(f"{file} cannot be read; {again}") from None
    if hashlib.sha256(content).hexdigest() != facts.get("sha256"):
        raise AppError(f"{file} is not the model described by {work.path(FACTS)}; {again}")
    model = MODELS.get(str(facts.get("model")))
    if not model or facts.get("inputs") != list(model.INPUTS):
        raise AppError(f"{file} takes other features than this version makes; {again}")
    if (facts.get("series"), facts.get("interval")) != (work.series, work.interval):
        raise AppError(f"{file} describes another series; {again}")
    if horizon > int(facts.get("horizon", 0)):
        raise AppError(
            f"{file} forecasts {facts.get('horizon')} steps, and {horizon} are requested:"
            f" train --horizon {horizon}"
        )
    return facts, content
