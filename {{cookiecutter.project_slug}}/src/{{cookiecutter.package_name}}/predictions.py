"""The log of forecasts in the database."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from . import observations
from .artifacts import Metadata
from .forecasting import Forecast
from .observations import keys
from .samples import truths
from .schemas import PastPrediction, Source
from .tables import Prediction


def log(
    connection: Connection,
    metadata: Metadata,
    forecasts: Sequence[Forecast],
    source: Source,
    *,
    cached: bool = False,
) -> tuple[int, dt.datetime]:
    """Write forecasts of a model; return the number of the last, and the time of them all."""
    now = dt.datetime.now(dt.UTC)
    rows = [
        {
            "created_at": now,
            "tier": metadata.tier,
            "version": metadata.version,
            "source": source,
            "key": str(forecast.key),
            "target_key": str(forecast.target_key),
            "prediction": forecast.prediction,
            "cached": cached,
        }
        for forecast in forecasts
    ]
    numbers = connection.scalars(insert(Prediction).returning(Prediction.id), rows)
    return max(numbers), now


def newest(
    connection: Connection, tier: str | None, source: Source | None, limit: int
) -> list[PastPrediction]:
    """Return the last forecasts, newest first, each with what came of it if it is known."""
    query = select(Prediction.__table__).order_by(Prediction.id.desc()).limit(limit)
    if tier is not None:
        query = query.where(Prediction.tier == tier)
    if source is not None:
        query = query.where(Prediction.source == source)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return with_outcomes(connection, rows)


def with_outcomes(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[PastPrediction]:
    """Return stored forecasts, each with the truths of the row it was about."""
    target_keys = [keys.validate_python(row["target_key"]) for row in rows]
    known = observations.by_key(connection, target_keys)
    outcomes = [truths(known[key]) if key in known else None for key in target_keys]
    return [
        PastPrediction.model_validate({**row, "outcome": outcome or None})
        for row, outcome in zip(rows, outcomes, strict=True)
    ]


def has_backtest(connection: Connection, metadata: Metadata) -> bool:
    """Return whether a model's forecasts of its held-out rows are in the log."""
    query = select(Prediction.id).where(
        Prediction.tier == metadata.tier,
        Prediction.source == "backtest",
        Prediction.version == metadata.version,
    )
    return connection.execute(query.limit(1)).first() is not None
