"""Options that several tasks take: their help texts, and how they are read."""

from ops.errors import Refused

PROFILE = "dev, staging or prod (default: APP_ENV, else dev)"
ENGINE = "compose (containers) or local (processes); default: the one in use, else what can run"
JSON = "print JSON, for scripts"
YES = "do not ask"
WHERE = {"profile": PROFILE, "engine": ENGINE}


def seconds(text: str) -> float:
    """Read a time limit.

    Raises:
        Refused: it is no number of seconds above 0.
    """
    if not text.isdigit() or not int(text):
        raise Refused(f"{text!r} is not a number of seconds", "--timeout 120", code=2)
    return float(text)
