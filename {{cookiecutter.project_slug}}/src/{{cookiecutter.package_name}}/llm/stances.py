"""A model's opinion of an event and its stated confidence: the last line of its answer."""

import re
from dataclasses import dataclass

QUESTION = """\
Then, on a last line of its own, which is not checked, say whether you expect {event}, and how \
probable that answer is to be right: "Expected: yes, NN %" or "Expected: no, NN %"."""
LINE = re.compile(r"^\W*expected\W*:", re.IGNORECASE)
STANCE = re.compile(
    r"^\W*expected\W*:\W*(?P<said>yes|no)\b\W*(?P<percent>\d{1,3}(?:\.\d+)?)\s?%\W*$", re.IGNORECASE
)
ALL = 100.0


@dataclass(frozen=True)
class Stance:
    """Whether the event is expected, and the stated probability of being right."""

    expected: bool
    confidence: float


def parted(text: str) -> tuple[str, Stance | None]:
    """Return a text without the line, and the stance in that line; None if it is unclear."""
    before, _, last = text.rpartition("\n")
    if not LINE.match(last):
        return text, None
    found = STANCE.match(last)
    if not found or float(found["percent"]) > ALL:
        return before, None
    return before, Stance(found["said"].lower() == "yes", round(float(found["percent"]) / ALL, 4))
