"""Rotation of secrets: the new value is in use everywhere, or the previous one still is.

Each kind of secret has a module, and `choose` picks it. Both values are accepted until the last
step, so a rotation that is killed leaves a stack that works, and the same command finishes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from slipway.core.errors import Finding
from slipway.models import history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

NEEDS = ("api", "postgres", "redis")
"""A repository without any of these services is made without this folder."""
VERB = "env.rotate"
OVERLAP = timedelta(hours=24)
"""How long the previous API key is accepted beside the new one."""


@dataclass(frozen=True)
class SecretProbe:
    """How to try a secret that a provider issues, before it is used.

    Its readers read it each time they need it, so none of them is restarted.
    """

    place: str
    """What takes the secret, for the plan."""
    try_secret: Callable[[Mapping[str, str], str], str]
    """Takes the values of the env file and the new secret; returns what it found."""


secret_probes: dict[str, SecretProbe] = {}
"""By variable. The room that uses a secret adds its probe."""


def interrupted_rotation(root: Path, name: str, profile: str) -> dict[str, Any] | None:
    """Return the last rotation of a secret if it stopped in the middle of its changes."""
    left = _interrupted_rotations(root)
    return next((item for item in left if _secret_of(item) == (name, profile)), None)


def _interrupted_rotations(root: Path) -> list[dict[str, Any]]:
    last = {
        _secret_of(item): item
        for item in history.recorded_changes(root)
        if item.get("verb") == VERB
    }
    return [
        item
        for item in last.values()
        if item.get("outcome") != "done" and item.get("touched") and not item.get("undone")
    ]


def _secret_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("name")), str(entry.get("profile"))


def checks(root: Path, profile: str) -> Iterator[Finding]:
    """Yield a profile's rotations that stopped in the middle, and what finishes each."""
    for item in _interrupted_rotations(root):
        if item.get("profile") == profile:
            yield Finding(
                "rotation",
                "warn",
                f"{VERB} of {item['name']} stopped at step {item['step']} ({item['outcome']}):"
                " the previous and the new value may both be accepted",
                f"inv {VERB} {item['name']} --profile {profile}",
            )
