"""What OpenAPI says of answers that are not in the signatures: headers and failures."""

from typing import Any

from .schemas import TIER, Failure


def header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


LIMIT_HEADERS = {
    "X-RateLimit-Limit": header("Requests allowed per minute"),
    "X-RateLimit-Remaining": header("Requests left"),
    "X-RateLimit-Reset": header("Seconds until the limit resets"),
}
MODEL_HEADER = {"X-Model-Version": header("Tier and version of the model that made the forecast")}

FAILURES = {
    401: ("The API key is missing", "the header X-API-Key is missing"),
    403: ("The API key is wrong", "the API key is wrong"),
    409: ("A model cannot be loaded; the previous one is still served", f"{TIER} has no model"),
    413: ("The body is too large", "the body may have at most 1048576 bytes"),
    429: ("Too many requests", "more than 100 requests a minute; wait 7 s"),
    503: ("A model, the data or the database is missing", f"{TIER} has no model"),
}


def failures(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of answers that are a Failure."""
    return {
        code: {
            "model": Failure,
            "description": FAILURES[code][0],
            "content": {"application/json": {"example": {"detail": FAILURES[code][1]}}},
        }
        for code in codes
    }
