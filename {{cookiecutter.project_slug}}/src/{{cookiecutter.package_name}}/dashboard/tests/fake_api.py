"""An API that gives made-up responses."""

from collections.abc import Mapping
from typing import Any

import httpx

from ..api_types import ForecastRecord, ForecastTarget

Response = tuple[int, Any]
METRICS = {"model": {"mae": 1.25}, "baselines": {"mean": {"mae": 2.5}}, "score": "mae"}


class FakeApi:
    """Responds by path, and records the paths that were requested."""

    def __init__(self, responses: Mapping[str, Response]) -> None:
        self.responses = dict(responses)
        self.requested: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requested.append(request.url.path)
        status, body = self.responses[request.url.path]
        return httpx.Response(status, json=body)


def make_target(kind: str, **changes: object) -> ForecastTarget:
    """Return a target of a model that beats its baselines."""
    defaults = {"name": "temp_max", "kind": kind, "unit": "°C", "beats_baselines": True}
    return ForecastTarget.model_validate({**defaults, **METRICS, **changes})


def make_forecast(key: int | str, value: float, outcome: float | None = None) -> ForecastRecord:
    """Return a forecast of `rain` for a key."""
    outcomes = {"rain": outcome}
    return ForecastRecord(key=0, target_key=key, prediction={"rain": value}, outcome=outcomes)


def metrics_body(kind: str, unit: str) -> dict[str, Any]:
    """Return the metrics of a target as the API gives them."""
    return make_target(kind, unit=unit).model_dump(exclude={"name"})


def model_body(tier: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model as the API gives it."""
    when = "2026-11-22T05:10:00Z"
    details = {"description": "Two_words", "trained_at": when, "loaded_at": when, "unknown": 1}
    return {"tier": tier, "version": "v1.0", "metrics": metrics, **details}


def health_response(*, ok: bool) -> Response:
    """Return the health of a stack in which only the cache may fail."""
    checks = {
        "model": {"ok": True, "detail": "m v1.0"},
        "cache": {"ok": ok, "detail": "refused_it"},
    }
    return (200 if ok else 503), {"status": "ok" if ok else "failing", "checks": checks}


def weather_responses() -> dict[str, Response]:
    """Return the responses of a healthy API with two targets and one tier."""
    metrics = {
        "rain": metrics_body("probability", "probability"),
        "temp_max": metrics_body("quantity", "°C"),
    }
    prediction = {"rain": 0.734, "temp_max": 8.93}
    forecast = {"key": "2015-12-31", "target_key": "2016-01-01", "prediction": prediction}
    outcome = {"rain": 1.0, "temp_max": 9.5}
    return {
        "/health": health_response(ok=True),
        "/models": (200, [model_body("tier1", metrics)]),
        "/predict": (200, forecast),
        "/predictions": (200, [{**forecast, "outcome": outcome}]),
    }


def tabular_responses() -> dict[str, Response]:
    """Return responses for one quantity without a unit, with integer keys and no horizon."""
    forecast = {"key": 441, "target_key": None, "prediction": {"progression": 152.13}}
    metrics = {"progression": metrics_body("quantity", "")}
    return {
        "/health": health_response(ok=True),
        "/models": (200, [model_body(name, metrics) for name in ("small", "large")]),
        "/predict": (200, forecast),
        "/predictions": (200, [{**forecast, "outcome": {"progression": 140.0}}]),
    }
