"""What a person is meant to read of what is wrong: a refusal, or one finding of a check."""

from __future__ import annotations

import re
from dataclasses import dataclass

from invoke.exceptions import Exit

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys instead of showing it, or cannot show; not the ends of lines."""


def printable(text: str) -> str:
    """Write control characters as Python does: what is printed may come from anywhere."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text.replace("\r\n", "\n"))


class Refused(Exit):
    """An expected failure: what happened and where, then what to type next.

    `inv` prints the message without a traceback and exits with `code`.
    """

    def __init__(self, what: str, fix: str = "", code: int = 1) -> None:
        """Join what happened and its remedy into one message."""
        what, fix = printable(what), printable(fix)
        super().__init__(f"{what}\n  -> {fix}" if fix else what, code)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        """Return the message as `inv` prints it."""
        return str(self.message)


@dataclass(frozen=True)
class Finding:
    """One thing checked: ok, warn (works without) or fail, and what to type if it is not ok."""

    check: str
    state: str
    detail: str
    fix: str = ""
