"""The API. `uvicorn <package>.api:app` creates the application when it accesses `app`."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

from . import __version__, apikeys, logs, parts, predictions
from .answers import Counting
from .artifacts import ArtifactError
from .bodylimit import BodyLimit
from .database import DatabaseError, transaction
from .documentation import LIMIT_HEADERS, MODEL_HEADER, failures
from .forecasting import HistoryError
from .observations import keys
from .problem import Key
from .refusals import invalid_request
from .schemas import (
    PREDICT_EXAMPLES,
    Health,
    LoadedModel,
    PastPrediction,
    PredictRequest,
    PredictResponse,
    Source,
    TierName,
)
from .service import BehindError, Service
from .serving import ModelError, NotLoadedError
from .settings import ApiSettings, load
from .shared.console import AppError

log = logging.getLogger(__name__)


async def opened(request: Request) -> Service:
    """Return the service of the application."""
    service: Service = request.app.state.service
    return service


Opened = Annotated[Service, Depends(opened)]


def limit(request: Request, response: Response, service: Opened) -> None:
    """Count the request against its client's allowance for this path."""
    client = request.client.host if request.client else "unknown"
    allowance = service.limiter.hit(client, request.scope["route"].path)
    if allowance is None:
        return
    headers = allowance.headers()
    if not allowance.allowed:
        detail = f"more than {allowance.limit} requests a minute; wait {allowance.seconds} s"
        raise HTTPException(429, detail, headers)
    response.headers.update(headers)


api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="API_KEY of the service")


async def authorize(request: Request, given: Annotated[str | None, Depends(api_key)]) -> None:
    """Require the API key, or the previous one while it is still valid."""
    if given is None:
        raise HTTPException(401, "the header X-API-Key is missing", {"WWW-Authenticate": "APIKey"})
    settings: ApiSettings = request.app.state.settings
    if not apikeys.opens(given, settings.api_key, settings.api_key_previous):
        raise HTTPException(403, "the API key is wrong")


public = APIRouter()
limited = APIRouter(
    dependencies=[Depends(limit)],
    responses={200: {"headers": LIMIT_HEADERS}, **failures(429, 503)},
)


@public.get("/", include_in_schema=False)
def root() -> RedirectResponse:
    """Lead whoever opens the address itself to the description."""
    return RedirectResponse("/docs")


@public.get(
    "/health",
    tags=["Operation"],
    summary="Report whether the API can serve forecasts",
    responses={503: {"model": Health, "description": "A check fails; `checks` says which"}},
)
def health(service: Opened, response: Response) -> Health:
    """Check the models, the database and the cache."""
    checks = service.checks()
    working = all(check.ok for check in checks.values())
    response.status_code = 200 if working else 503
    return Health(status="ok" if working else "failing", checks=checks, version=__version__)


@limited.post(
    "/predict",
    tags=["Forecasts"],
    summary="Forecast every target",
    responses={200: {"headers": {**LIMIT_HEADERS, **MODEL_HEADER}}, **failures(413)},
)
def predict(
    service: Opened,
    request: Request,
    response: Response,
    asked: Annotated[PredictRequest, Body(openapi_examples=PREDICT_EXAMPLES)],
) -> PredictResponse:
    """Forecast from the newest rows, from those up to a key, or from rows of your own.

    The forecast is logged, whether computed or cached. If a model fails shortly after it
    replaced another, the previous one answers.
    """
    models = service.models.answering(asked.tier)
    request.state.asked = models[0].file
    try:
        made = service.predict(models, asked)
    except HistoryError as error:
        if asked.at is None:
            raise
        raise no_history(asked.at, str(error)) from error
    response.headers["X-Model-Version"] = f"{made.tier} {made.version}"
    return made


def no_history(at: Key, reason: str) -> RequestValidationError:
    """Return the error for a key that only the database could reject."""
    value = keys.dump_python(at, mode="json")
    error = {"type": "value_error", "loc": ("body", "at"), "msg": reason, "input": value}
    return RequestValidationError([error])


@limited.get("/models", tags=["Forecasts"], summary="List the models that are served")
def models(service: Opened) -> list[LoadedModel]:
    """List each tier's model with its version, metrics and start time."""
    loaded = service.models.loaded.values()
    return [LoadedModel.of(model.metadata, model.loaded_at) for model in loaded]


@limited.get("/predictions", tags=["Forecasts"], summary="List past forecasts, newest first")
def past_predictions(
    service: Opened,
    tier: Annotated[TierName | None, Query(description="Only this tier")] = None,
    source: Annotated[Source | None, Query(description="Only this source")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of forecasts")] = 100,
) -> list[PastPrediction]:
    """List forecasts with their outcomes, if known."""
    with transaction(service.engine) as connection:
        return predictions.newest(connection, tier, source, limit)


@limited.post(
    "/admin/reload-model",
    tags=["Operation"],
    summary="Make every process serve the current models",
    dependencies=[Depends(authorize)],
    responses=failures(401, 403, 409),
)
def reload_model(service: Opened) -> list[LoadedModel]:
    """Return once every process serves them, or report which does not and why.

    Processes notice moved links by themselves. This waits for them, and makes
    them retry models that failed to load. A model that cannot be loaded does not replace the old.
    """
    try:
        service.reload()
    except (ArtifactError, BehindError) as error:
        log.warning("not every process serves the current models: %s", error)
        raise HTTPException(409, str(error)) from error
    return models(service)


async def unavailable(request: Request, error: Exception) -> JSONResponse:
    """Return 503 if something the request needs is unavailable."""
    log.warning("%s %s: %s", request.method, request.url.path, error)
    detail = f"the database {error.advice}" if isinstance(error, DatabaseError) else str(error)
    return JSONResponse({"detail": detail}, 503)


def create_app(settings: ApiSettings) -> FastAPI:
    """Return the application; models are loaded when it starts."""
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service.open(settings, registry)
        yield
        app.state.service.close()

    app = FastAPIOffline(  # its pages load nothing from elsewhere
        title="Forecasts",
        version=__version__,
        summary="Forecasts of every target, from models evaluated against baselines.",
        lifespan=lifespan,
        redirect_slashes=False,  # it would lead to whatever host a request names
    )
    app.state.settings, app.state.registry = settings, registry
    for router in (public, limited, *(module.router for module in parts.having("routes"))):
        app.include_router(router)
    app.add_exception_handler(RequestValidationError, invalid_request)
    for error in (NotLoadedError, ModelError, HistoryError, DatabaseError):
        app.add_exception_handler(error, unavailable)
    app.add_middleware(BodyLimit, limit=settings.body_bytes_max)
    app.add_middleware(Counting, answers=lambda: app.state.service.answers)
    instrumentator = Instrumentator(excluded_handlers=["/metrics", "/health"], registry=registry)
    instrumentator.instrument(app).expose(app, tags=["Operation"], summary="Return the metrics")
    return app


def __getattr__(name: str) -> FastAPI:
    """Create `app` on access, so that importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = load(ApiSettings)
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    logs.configure(settings.log_level)
    return create_app(settings)
