"""What is said of a request that is not valid: its fields and the reasons, in valid JSON.

A request may hold what JSON cannot (NaN, half of a surrogate pair) or be very long; such things
are told by their place, and not repeated.
"""

import json
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

LONGEST = 100
"""Characters of an input, as JSON, that are repeated; a longer one is not."""

MOST = 20
"""Errors that are named; a request may have as many as it has bytes."""


async def invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """Answer 422 with what is wrong."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"detail": [refusal(details) for details in errors[:MOST]]}, 422)


def refusal(details: dict[str, Any]) -> dict[str, Any]:
    """Return type, place and reason of an error, and the input where it can be repeated."""
    place = [part if isinstance(part, int) else printable(part) for part in details["loc"]]
    told = {"type": details["type"], "loc": place, "msg": printable(details["msg"])}
    return {**told, "input": details["input"]} if repeatable(details.get("input")) else told


def printable(text: str) -> str:
    """Return a text that can be encoded and is not long."""
    encoded = text.encode(errors="backslashreplace").decode()
    return encoded if len(encoded) <= 2 * LONGEST else f"{encoded[: 2 * LONGEST]}..."


def repeatable(value: object) -> bool:
    """Return whether a value is short and can be written as JSON."""
    try:
        written = json.dumps(value, allow_nan=False, ensure_ascii=False)
        return len(written.encode()) <= LONGEST
    except (RecursionError, TypeError, ValueError):
        return False
