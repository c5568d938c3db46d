"""Renewal: another value of a secret holds everywhere, or the one before still does.

Each kind of secret has a module here. Until the last step both values are accepted, so whoever is
killed in the middle leaves a stack that works, and the same command brings it to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from slipway.config import schema
from slipway.core.errors import Refused
from slipway.core.findings import Finding
from slipway.models import history

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slipway.config.schema import Variable
    from slipway.secret.rotation.base import Renewal
    from slipway.stack.session import Session

VERB = "env.rotate"
OVERLAP = timedelta(hours=24)
"""How long the API key before is accepted beside the new one."""
DATABASE, CACHE, KEY, PREVIOUS = (
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "API_KEY",
    "API_KEY_PREVIOUS",
)
SIGNING = "MODELS_SIGNING_KEY"
"""It names a file, is nobody's to make at random, and so is not in the schema."""


@dataclass(frozen=True)
class Order:
    """What is to be renewed, and how."""

    session: Session
    variable: Variable
    overlap: timedelta = OVERLAP

    @property
    def name(self) -> str:
        """The name of the variable."""
        return self.variable.name


def of(session: Session, name: str, overlap: timedelta = OVERLAP) -> Renewal:
    """Return what renews a secret; nothing is changed yet.

    Raises:
        Refused: there is no such secret, or it cannot be renewed from here.
    """
    from slipway.secret.rotation import api_key, base, external, postgres, redis, signing_key  # noqa: PLC0415 - `inv --list` should not wait for them

    if name == SIGNING:
        return signing_key.Signing(Order(session, schema.Variable(name), overlap))
    order = Order(session, _known(session, name), overlap)
    kinds = {DATABASE: postgres.Database, CACHE: redis.Cache, KEY: api_key.Key}
    usual = external.Given if order.variable.given else base.Renewal
    return kinds.get(name, usual)(order)


def refuse_shut_out(session: Session) -> None:
    """Check, before services are handed anything, that the database takes what they would get.

    Raises:
        Refused: it does not.
    """
    if session.engine.name == schema.ENGINES[1]:
        from slipway.secret.rotation import postgres  # noqa: PLC0415 - as above

        postgres.refuse_shut_out(session)


def _known(session: Session, name: str) -> Variable:
    """Return the secret of a name.

    Raises:
        Refused: there is none, or it follows from another.
    """
    variables = {item.name: item for item in schema.read(session.project)}
    known = sorted([SIGNING, *(item.name for item in variables.values() if item.is_secret)])
    known.remove(PREVIOUS) if PREVIOUS in known else None
    if name == PREVIOUS:
        raise Refused(f"{name} is the key before the one in use", f"inv {VERB} {KEY}", code=2)
    if name in variables and not variables[name].is_secret:
        what = f"{name} is no secret: who decides on it is {variables[name].owner or 'not said'}"
        raise Refused(what, f"edit {session.project.env_file(session.profile).name}", code=2)
    if name not in variables:
        what = f"there is no secret {name!r}{schema.hint(name.upper(), known)}"
        raise Refused(what, f"choose one of: {', '.join(known)}", code=2)
    return variables[name]


def interruption(root: Path, name: str, profile: str) -> dict[str, Any] | None:
    """Return the last renewal of a secret, if it was left in the middle of its changes."""
    return next((item for item in _left(root) if _whose(item) == (name, profile)), None)


def _left(root: Path) -> list[dict[str, Any]]:
    last = {_whose(item): item for item in history.known(root) if item.get("verb") == VERB}
    return [
        item
        for item in last.values()
        if item.get("outcome") != "done" and item.get("touched") and not item.get("undone")
    ]


def _whose(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("name")), str(entry.get("profile"))


def findings(root: Path, profile: str) -> list[Finding]:
    """Say which renewals of a profile were left in the middle, and how to end them."""
    return [
        Finding(
            "rotation",
            "warn",
            f"{VERB} of {item['name']} ended at step {item['step']} ({item['outcome']}):"
            " the value before and the new one may both be accepted",
            f"inv {VERB} {item['name']} --profile {profile}",
        )
        for item in _left(root)
        if item.get("profile") == profile
    ]
