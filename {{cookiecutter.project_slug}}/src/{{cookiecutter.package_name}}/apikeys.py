"""The keys that open the admin endpoints: the one of now, and for a while the one before it."""

from dataclasses import dataclass
from datetime import UTC, datetime

SHORTEST = 16
FORM = "<UTC time, such as 2026-01-31T12:00:00Z>/<key>"


@dataclass(frozen=True)
class Previous:
    """The key before, and until when it opens."""

    until: datetime
    key: str

    @classmethod
    def parse(cls, text: str) -> "Previous":
        """Read the form of API_KEY_PREVIOUS; raises ValueError, which does not repeat the key."""
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
    """Refuse a key that could be guessed."""
    if len(key) < SHORTEST:
        raise ValueError(f"should have at least {SHORTEST} characters")
