"""What OpenAPI says of answers that are not in the signatures: headers and failures."""

from typing import Any

from .schemas import TIER, Failure


def header(description: str) -> dict[str, Any]:
    """Return the documentation of a response header."""
    return {"description": description, "schema": {"type": "string"}}


LIMIT_HEADERS = {
    "X-RateLimit-Limit": header("Requests allowed in a minute"),
    "X-RateLimit-Remaining": header("Requests that are left"),
    "X-RateLimit-Reset": header("Seconds until there are more"),
}
MODEL_HEADER = {"X-Model-Version": header("Tier and version of the model that answered")}

FAILURES = {
    401: ("The API key is missing", "the header X-API-Key is missing"),
    403: ("The API key is wrong", "this is not the API key"),
    409: ("A model cannot be loaded; the old ones go on answering", f"{TIER} has no model"),
    413: ("The body is too large", "a body may have 1048576 bytes at most"),
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
