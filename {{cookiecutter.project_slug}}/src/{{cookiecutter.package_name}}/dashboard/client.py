"""Requests to the API: cached, with an error that says what to do if one fails."""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import httpx
import streamlit as st
from pydantic import TypeAdapter, ValidationError

from .api_types import ForecastRecord, ServedModel, StackHealth
from .words import escape_markdown

# Responses are cached for this long. However often the page is drawn, and for however many readers,
# the API gets at most some 25 requests a minute for two tiers. By default it allows 100 per path.
HEALTH_SECONDS = 5
MODELS_SECONDS = 10
FORECAST_SECONDS = 60
TIMEOUT = httpx.Timeout(5.0, connect=2.0)
HISTORY_LIMIT = 1000
T = TypeVar("T")


class ApiError(Exception):
    """A request to the API failed: what happened, what to do about it and what to type."""

    def __init__(self, what: str, advice: str, command: str = "inv deploy.status") -> None:
        """Keep the parts of the message separate."""
        super().__init__(what)
        self.what, self.advice, self.command = what, advice, command


def api_url() -> str:
    """Return the address of the API."""
    return os.environ.get("API_URL", "http://127.0.0.1:8000").rstrip("/")


@st.cache_resource(show_spinner=False)
def http_client() -> httpx.Client:
    """Return the HTTP client that all sessions share."""
    return httpx.Client(timeout=TIMEOUT, trust_env=False)


def request_json(
    method: str,
    url: str,
    also_accept: int = httpx.codes.OK,
    **options: Any,  # noqa: ANN401 - httpx's own options
) -> object:
    """Return the JSON of a response whose status is 200 (or `also_accept`).

    Raises ApiError if there is no such response.
    """
    try:
        response = http_client().request(method, url, **options)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        what = f"API_URL is `{api_url()}`, which is not an HTTP address."
        raise ApiError(
            what, "Correct it in the environment file. To check:", "inv doctor"
        ) from error
    except httpx.TimeoutException as error:
        what = f"The API at `{api_url()}` did not respond in time."
        raise ApiError(what, "It may be busy or still starting. To check:") from error
    except httpx.HTTPError as error:
        what = f"The API at `{api_url()}` cannot be reached."
        raise ApiError(what, "Start it with `inv deploy.up`. To see what is running:") from error
    if response.status_code not in {httpx.codes.OK, also_accept}:
        raise status_error(response)
    try:
        return response.json()
    except ValueError as error:
        raise unreadable_response(url, "not JSON") from error


def status_error(response: httpx.Response) -> ApiError:
    """Return the error for a response with an error status."""
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        wait = response.headers.get("Retry-After", "")
        when = f"in {wait} s" if wait.isdigit() else "in a minute"
        return ApiError(
            "The API's rate limit has been reached.",
            f"Reload this page {when}. RATE_LIMIT_PER_MINUTE sets the limit. "
            "To see what is running:",
        )
    return ApiError(
        f"The API returned status {response.status_code} for {response.request.url.path}: "
        f"{escape_markdown(error_reason(response))}",
        "Its log says more (`inv deploy.logs`). To see what is running:",
    )


def error_reason(response: httpx.Response) -> str:
    """Return the reason that an error response gives."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
    return detail if isinstance(detail, str) else response.reason_phrase


def unreadable_response(url: str, problem: str) -> ApiError:
    """Return the error for a response that the dashboard cannot read."""
    path = httpx.URL(url).path
    return ApiError(
        f"The API's response to {path} cannot be read: {escape_markdown(problem)}.",
        f"Is `{api_url()}` this project's API, in the same version? To see what is running:",
    )


def parse_response(kind: type[T], url: str, response: object) -> T:
    """Return a response as the type it should have; raises ApiError if it does not."""
    try:
        return TypeAdapter(kind).validate_python(response)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the response"
        raise unreadable_response(url, f"{where}: {first['msg'].lower()}") from error


@st.cache_data(ttl=HEALTH_SECONDS, show_spinner=False)
def request_health(url: str) -> object:
    """Request the health of the stack, which has status 503 if a check fails."""
    return request_json("GET", url, also_accept=httpx.codes.SERVICE_UNAVAILABLE)


@st.cache_data(ttl=MODELS_SECONDS, show_spinner=False)
def request_models(url: str) -> object:
    """Request the models that are served."""
    return request_json("GET", url)


@st.cache_data(ttl=FORECAST_SECONDS, show_spinner="Requesting a forecast")
def request_forecast(url: str, tier: str, version: str) -> object:
    """Request the next forecast of a tier; a new version is not in the cache."""
    del version
    return request_json("POST", url, json={"tier": tier})


@st.cache_data(ttl=FORECAST_SECONDS, show_spinner="Loading past forecasts")
def request_history(url: str, tier: str, source: str) -> object:
    """Request the newest past forecasts of a tier."""
    query = {"tier": tier, "source": source, "limit": HISTORY_LIMIT}
    return request_json("GET", url, params=query)


def fetch_health() -> StackHealth:
    """Return the health of the stack."""
    url = f"{api_url()}/health"
    return parse_response(StackHealth, url, request_health(url))


def fetch_models() -> list[ServedModel]:
    """Return the models that are served; raises ApiError if there are none."""
    url = f"{api_url()}/models"
    models = parse_response(list[ServedModel], url, request_models(url))
    if not models:
        raise ApiError("The API does not serve a model yet.", "To train one:", "inv models.train")
    return models


def fetch_forecast(model: ServedModel) -> ForecastRecord:
    """Return a model's forecast from the newest rows."""
    url = f"{api_url()}/predict"
    return parse_response(ForecastRecord, url, request_forecast(url, model.tier, model.version))


def fetch_history(tier: str, source: str) -> list[ForecastRecord]:
    """Return a tier's past forecasts, newest first, one per key."""
    url = f"{api_url()}/predictions"
    history = parse_response(list[ForecastRecord], url, request_history(url, tier, source))
    return newest_per_key(history)


def newest_per_key(forecasts: Sequence[ForecastRecord]) -> list[ForecastRecord]:
    """Keep the first, which is the newest, forecast for each key."""
    newest: dict[int | str, ForecastRecord] = {}
    for forecast in forecasts:
        newest.setdefault(forecast.forecast_key, forecast)
    return list(newest.values())
