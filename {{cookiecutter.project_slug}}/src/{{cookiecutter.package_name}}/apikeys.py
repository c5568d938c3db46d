"""The keys that open the admin endpoints: the one of now, and for a while the previous one.

So callers can be given the new key before the old one expires.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr

SHORTEST = 16
FORM = "<UTC time, such as 2026-01-31T12:00:00Z>/<key>"


@dataclass(frozen=True)
class Previous:
    """The previous key, and until when it is valid."""

    until: datetime
    key: str

    @classmethod
    def parse(cls, text: str) -> "Previous":
        """Parse API_KEY_PREVIOUS; the message of the ValueError does not contain the key."""
        written, _, key = text.partition("/")
        try:
            until = datetime.fromisoformat(written)
        except ValueError:
            until = None
        if until is None or until.tzinfo is not UTC or not written.endswith("Z"):
            raise ValueError(f"should be {FORM}")
        check(key)
        return cls(until, key)


def check(key: str) -> None:
    if len(key) < SHORTEST:
        raise ValueError(f"should have at least {SHORTEST} characters")


def opens(given: str, key: SecretStr, previous: SecretStr | None) -> bool:
    """Return whether a key is valid, in constant time."""
    found = [secrets.compare_digest(given.encode(), one.encode()) for one in valid(key, previous)]
    return any(found)


def valid(key: SecretStr, previous: SecretStr | None) -> Iterator[str]:
    """Yield the keys that are valid now, according to the current settings."""
    yield key.get_secret_value()
    before = "" if previous is None else previous.get_secret_value()
    if before.strip():
        held = Previous.parse(before)
        if datetime.now(UTC) < held.until:
            yield held.key
