"""Numbered steps of a change: each is noted before it is made, and told when it has ended."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.core import output
from slipway.core.errors import Refused
from slipway.core.transaction import unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slipway.core.transaction import Change


class StepFailed(Refused):
    """A step could not be made."""

    def __init__(self, number: str, step: str, why: str, fix: str = "") -> None:
        """Take the number and the name of the step."""
        super().__init__(f"step {number} ({step}): {why}", fix)
        self.step = step
        self.why = why


@dataclass
class Step:
    """A step under way; what it says in `detail` is told at its end."""

    detail: str = ""


class Steps:
    """The steps of one change."""

    def __init__(self, change: Change, names: Sequence[str], within: str = "") -> None:
        """Take their names in order; `within` is what comes before the numbers of a part."""
        self.change = change
        self.names = names
        self.within = within
        self.seconds: dict[str, float] = {}
        """What each took that has ended."""

    def number(self, name: str) -> str:
        """Return the number that a step is printed with."""
        return f"{self.within}{self.names.index(name) + 1}"

    def _shown(self, name: str) -> str:
        """Return the number as wide as the last one's."""
        return f"{self.number(name):>{len(self.number(self.names[-1]))}}"

    @contextmanager
    def made(self, name: str, doing: str = "") -> Iterator[Step]:
        """Make a step; one that may last says what it is `doing`.

        Raises:
            StepFailed: it was refused, or the disk does not take what has to be written.
        """
        self.change.note(**{"part" if self.within else "step": name})
        step, mark, start = Step(), "stopped", time.monotonic()
        try:
            shown = f"{self._shown(name)} {name:<10} {doing}"
            with output.waiting(shown) if doing else nullcontext():
                yield step
            mark = "ok"
        except (Refused, OSError) as error:
            refused = error if isinstance(error, Refused) else unwritable(error)
            mark, step.detail = "FAILED", refused.what.partition("\n")[0]
            raise StepFailed(self.number(name), name, refused.what, refused.fix) from error
        finally:
            self.seconds[name] = round(time.monotonic() - start, 1)
            self._tell(name, mark, self.seconds[name], step.detail)

    def skipped(self, name: str, why: str) -> None:
        """Tell of a step that is not needed."""
        self._tell(name, "skipped", 0.0, why)

    def _tell(self, name: str, mark: str, seconds: float, detail: str) -> None:
        number = self._shown(name)
        output.say(f"  {number} {name:<10} {mark:<8} {seconds:5.1f} s  {detail}".rstrip())
