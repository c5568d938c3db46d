"""What a look at something found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ok, warn (works without) or fail, and what to type if it is not ok."""

    check: str
    state: str
    detail: str
    fix: str = ""
