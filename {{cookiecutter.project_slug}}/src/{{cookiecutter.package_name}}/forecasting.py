"""How a request becomes a forecast."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FiniteFloat
from sqlalchemy import Connection

from . import observations
from .observations import key_of
from .problem import HISTORY, HORIZON, Key, Observation, step
from .samples import features
from .schemas import PredictRequest
from .serving import Model
from .shared.console import AppError


class HistoryError(AppError):
    """The rows that a forecast needs are not there."""


class Forecast(BaseModel):
    """What a model made of a history: its newest key, the key that is forecast, the forecasts."""

    key: Key
    target_key: Key
    prediction: dict[str, FiniteFloat]


def history(connection: Connection, asked: PredictRequest) -> Sequence[Observation]:
    """Return the HISTORY rows a request is about, the newest last.

    Raises HistoryError if the database does not have them all.
    """
    if asked.observations is not None:
        return asked.observations
    rows = observations.newest(connection, HISTORY, asked.at)
    if asked.at is not None and (not rows or key_of(rows[-1]) != asked.at):
        raise HistoryError(f"there is no observation of {asked.at}")
    if reason := observations.lack(rows):
        raise HistoryError(reason)
    return rows


def forecasts(
    model: Model, newest: Sequence[Observation], inputs: NDArray[np.float32]
) -> list[Forecast]:
    """Return what a model makes of features [n, features] of histories with these newest rows.

    Numbers are rounded to the six digits that float32 is good for.
    """
    outputs = {name: values.tolist() for name, values in model.predict(inputs).items()}
    return [
        Forecast(
            key=key_of(row),
            target_key=step(key_of(row), HORIZON),
            prediction={name: float(f"{values[index]:.6g}") for name, values in outputs.items()},
        )
        for index, row in enumerate(newest)
    ]


def forecast(model: Model, rows: Sequence[Observation]) -> Forecast:
    return forecasts(model, rows[-1:], features(rows)[np.newaxis])[0]
