"""The kinds of jobs.

A part of the application with work for workers declares it as `KINDS` in its `kinds.py`. The API
imports that file too, so it names the function that does the work instead of importing it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from .. import parts


@dataclass(frozen=True)
class Kind:
    """A kind of job: its payload, its function and its limits."""

    name: str
    queue: str
    payload: type[BaseModel]
    run: str
    """`module:function` below the package: `llm.explaining:explain`."""
    max_attempts: int
    """Failures after which a job is a dead letter."""
    time_limit: float
    """Seconds that one attempt may take."""


def installed() -> dict[str, Kind]:
    """Return the kinds of every part, by name.

    Raises ValueError if two have the same name, or a name cannot be part of a URL.
    """
    found: dict[str, Kind] = {}
    for module in parts.having("kinds"):
        for kind in getattr(module, "KINDS", ()):
            if kind.name in found or not kind.name.replace("-", "").isalnum():
                raise ValueError(f"{module.__name__}: {kind.name!r} cannot be the name of a kind")
            found[kind.name] = kind
    return found


def queues(kinds: Iterable[Kind]) -> list[str]:
    return sorted({kind.queue for kind in kinds})
