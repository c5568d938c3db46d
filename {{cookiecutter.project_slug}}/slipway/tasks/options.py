"""Options that several tasks take: their help texts, and how they are read."""

import re
import shlex
from collections.abc import Sequence
from datetime import timedelta

from slipway.core.errors import Refused

PROFILE = "dev, staging or prod (default: APP_ENV, else dev)"
ENGINE = "compose (containers) or local (processes); default: the one in use, else what can run"
JSON = "print JSON, for scripts"
YES = "do not ask"
IDENTITY = "the file of the secret key, for what is encrypted (default: AGE_IDENTITY_FILE)"
WHERE = {"profile": PROFILE, "engine": ENGINE}


MOST = 100_000
"""Beyond that a number was mistyped."""


def seconds(text: str, option: str = "--timeout") -> float:
    """Read a time limit.

    Raises:
        Refused: it is no number of seconds above 0.
    """
    if not (text.isdecimal() and 0 < int(text) <= MOST):
        raise Refused(f"{text!r} is not a number of seconds", f"{option} 120", code=2)
    return float(text)


def count(text: str, option: str) -> int:
    """Read a whole number.

    Raises:
        Refused: it is none, or a very large one.
    """
    if not (text.isdecimal() and int(text) <= MOST):
        raise Refused(f"{text!r} is not a whole number up to {MOST}", f"{option} 3", code=2)
    return int(text)


def duration(text: str, option: str) -> timedelta:
    """Read how long something is to last, in words; 0 is not at all.

    Raises:
        Refused: it is none, or a very long one.
    """
    if text == "0":
        return timedelta()
    found = re.fullmatch(r"([1-9]\d{0,4}) ?(second|minute|hour|day)s?", text)
    if not found:
        raise Refused(f"{text!r} is not how long", f"{option} '24 hours', or {option} 0", code=2)
    return timedelta(**{f"{found[2]}s": int(found[1])})


def problems(count: int) -> str:
    """Say how many problems there are to fix."""
    return "1 problem to fix" if count == 1 else f"{count} problems to fix"


def after_dashes(remainder: str, typed: Sequence[str]) -> list[str]:
    """Return the words that follow --; invoke has put them together, and forgotten what was one."""
    words = [*typed[typed.index("--") + 1 :]] if "--" in typed else []
    return words if " ".join(words) == remainder else shlex.split(remainder)
