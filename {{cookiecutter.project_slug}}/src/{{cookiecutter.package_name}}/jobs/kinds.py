"""What kinds of job there are.

A part of the application that has work for workers says so in its `kinds.py`, which holds `KINDS`.
The API imports it too, so it names the function that does the work, and does not import it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from .. import parts


@dataclass(frozen=True)
class Kind:
    """One kind of job: what it is asked with, who does it, and how long that may take."""

    name: str
    queue: str
    payload: type[BaseModel]
    run: str
    """`module:function` below the package: `llm.explaining:explain`."""
    max_attempts: int
    """How often it may fail; after that it is a dead letter."""
    time_limit: float
    """Seconds that one attempt may take."""


def installed() -> dict[str, Kind]:
    """Return the kinds of every part, by name.

    Raises ValueError if two have one name, or one could not be part of an address.
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
