"""The API's responses, as far as the dashboard reads them."""

import datetime as dt
from typing import Literal

from pydantic import BaseModel, FiniteFloat


class ForecastTarget(BaseModel):
    """What a model forecasts, and its metrics on held-out rows; lower is better."""

    name: str = ""
    kind: Literal["probability", "quantity"]
    unit: str = ""
    score: str
    model: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    beats_baselines: bool


class ServedModel(BaseModel):
    """A model that the API serves; its metrics are by target."""

    tier: str
    version: str
    description: str = ""
    trained_at: dt.datetime
    loaded_at: dt.datetime
    metrics: dict[str, ForecastTarget]

    @property
    def targets(self) -> list[ForecastTarget]:
        """Return the targets, each with its name."""
        return [target.model_copy(update={"name": name}) for name, target in self.metrics.items()]


class ForecastRecord(BaseModel):
    """A forecast, with its outcome once that is known."""

    key: int | str
    target_key: int | str | None = None
    prediction: dict[str, FiniteFloat]
    outcome: dict[str, FiniteFloat | None] | None = None

    @property
    def forecast_key(self) -> int | str:
        """Return the key the forecast is for: that of its newest row if there is no horizon."""
        return self.key if self.target_key is None else self.target_key

    def known_outcome(self, target: str) -> float | None:
        """Return the outcome of a target, or None if it is not yet known."""
        return (self.outcome or {}).get(target)


class StackCheck(BaseModel):
    """One part of the stack, as the API sees it."""

    ok: bool
    detail: str = ""


class StackHealth(BaseModel):
    """The health of the stack."""

    checks: dict[str, StackCheck]
    version: str = ""
