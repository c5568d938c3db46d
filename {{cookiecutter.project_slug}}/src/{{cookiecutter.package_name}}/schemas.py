"""What the API takes and gives."""

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

from .artifacts import Metadata, TargetMetrics
from .metrics import SCORES
from .observations import contiguous, key_of, keys
from .problem import (
    BASELINES,
    EXAMPLE,
    FEATURES,
    HISTORY,
    HORIZON,
    KEY,
    TARGETS,
    TIERS,
    Key,
    Observation,
    step,
)


def known_tier(name: str) -> str:
    """Refuse a tier that is none of the problem's."""
    if name not in TIERS:
        raise ValueError(f"should be one of {', '.join(TIERS)}")
    return name


def one_history(rows: list[Observation], info: ValidationInfo) -> list[Observation]:
    """Refuse rows that do not follow one another, or that another field leaves without use."""
    if info.data.get("at") is not None:
        raise ValueError("pass either rows or the key `at`, not both")
    try:
        whole = contiguous(rows)
        step(key_of(rows[-1]), HORIZON)
    except OverflowError:
        raise ValueError(f"there is no {KEY} to forecast after {key_of(rows[-1])}") from None
    if not whole:
        raise ValueError(f"each row's {KEY} should directly follow that of the row before")
    return rows


History = Annotated[
    list[Observation],
    Field(min_length=HISTORY, max_length=HISTORY),
    AfterValidator(one_history),
]
TIER_SCHEMA: dict[str, Any] = {"type": "string", "enum": list(TIERS)}
TierName = Annotated[str, AfterValidator(known_tier), WithJsonSchema(TIER_SCHEMA)]
Source = Literal["api", "backtest"]

TIER = next(iter(TIERS))
EXAMPLE_KEY = keys.dump_python(key_of(EXAMPLE), mode="json")
EXAMPLE_ROWS = [
    EXAMPLE.model_copy(update={KEY: step(key_of(EXAMPLE), rows)}).model_dump(mode="json")
    for rows in range(1 - HISTORY, 1)
]
EXAMPLE_FORECAST: dict[str, Any] = {
    "tier": TIER,
    "version": "v1.0",
    "key": EXAMPLE_KEY,
    "target_key": keys.dump_python(step(key_of(EXAMPLE), HORIZON), mode="json"),
    "prediction": {
        target.name: 0.73 if target.kind == "probability" else target.truth(EXAMPLE)
        for target in TARGETS
    },
    "created_at": "2026-11-22T08:30:00Z",
}


class PredictRequest(BaseModel):
    """What to forecast from: the newest rows there are, those up to a key, or rows of your own."""

    model_config = ConfigDict(extra="forbid")

    tier: TierName = Field(default=TIER, description="Tier to use; default: the first")
    at: Key | None = Field(default=None, description=f"Newest {KEY} to use; default: the newest")
    observations: History | None = Field(
        default=None,
        description=f"{HISTORY} rows to use instead of the database's, newest last",
    )


PREDICT_EXAMPLES: dict[str, Any] = {
    "newest": {"summary": "From the newest rows", "value": {}},
    "at": {"summary": "From the rows up to a key", "value": {"tier": TIER, "at": EXAMPLE_KEY}},
    "observations": {"summary": "From rows of your own", "value": {"observations": EXAMPLE_ROWS}},
}


class PredictResponse(BaseModel):
    """One forecast."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": 366,
                **EXAMPLE_FORECAST,
                "units": {target.name: target.unit for target in TARGETS},
                "cached": False,
            }
        }
    )

    id: int = Field(description="Number of the forecast in the database")
    tier: str
    version: str
    key: Key = Field(description=f"Newest {KEY} the forecast is based on")
    target_key: Key = Field(description=f"The {KEY} the forecast is for")
    prediction: dict[str, float] = Field(description="Forecast of each target")
    units: dict[str, str] = Field(description="Unit of each target")
    cached: bool = Field(description="Whether the answer came from the cache")
    created_at: dt.datetime


class PastPrediction(BaseModel):
    """A forecast that was given, with what came of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": 365,
                **EXAMPLE_FORECAST,
                "source": "backtest",
                "outcome": {target.name: target.truth(EXAMPLE) for target in TARGETS},
            }
        }
    )

    id: int
    tier: str
    version: str
    source: Source = Field(description="Requested from the API, or made for held-out rows")
    key: Key
    target_key: Key
    prediction: dict[str, float]
    outcome: dict[str, float] | None = Field(description="The outcome, null if not known")
    created_at: dt.datetime


EXAMPLE_METRICS: dict[str, Any] = {
    "kind": TARGETS[0].kind,
    "unit": TARGETS[0].unit,
    "score": SCORES[TARGETS[0].kind],
    "model": {SCORES[TARGETS[0].kind]: 0.18},
    "baselines": {name: {SCORES[TARGETS[0].kind]: 0.21} for name in BASELINES},
    "beats_baselines": True,
}


class LoadedModel(BaseModel):
    """A model that answers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "tier": TIER,
                "version": "v1.0",
                "description": TIERS[TIER].description,
                "trained_at": "2026-11-22T08:00:00Z",
                "loaded_at": "2026-11-22T08:30:00Z",
                "metrics": {TARGETS[0].name: EXAMPLE_METRICS},
                "beats_baselines": {TARGETS[0].name: True},
                "features": list(FEATURES),
            }
        }
    )

    tier: str
    version: str
    description: str
    trained_at: dt.datetime
    loaded_at: dt.datetime = Field(description="Since when it is served")
    metrics: dict[str, TargetMetrics] = Field(description="For each target, on held-out rows")
    beats_baselines: dict[str, bool] = Field(
        description="Whether the model beats every baseline, for each target"
    )
    features: list[str] = Field(description="In the order the model takes them")

    @classmethod
    def of(cls, metadata: Metadata, loaded_at: dt.datetime) -> "LoadedModel":
        """Return what there is to say of a model."""
        return cls(
            **metadata.model_dump(include={"tier", "version", "trained_at", "metrics", "features"}),
            description=TIERS[metadata.tier].description,
            loaded_at=loaded_at,
            beats_baselines=metadata.beats_baselines,
        )


class Check(BaseModel):
    """Whether one part works."""

    ok: bool
    detail: str


class Health(BaseModel):
    """Whether the API can do its work."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "ok",
                "checks": {
                    "model": {"ok": True, "detail": f"{TIER} v1.0"},
                    "database": {"ok": True, "detail": f"newest {KEY} {EXAMPLE_KEY}"},
                    "cache": {"ok": True, "detail": "answers"},
                },
                "version": "0.1.0",
            }
        }
    )

    status: Literal["ok", "failing"]
    checks: dict[str, Check]
    version: str


class Failure(BaseModel):
    """Why a request was not answered."""

    detail: str
