"""A secret that somebody else gives: it is asked for, tried, and only then used."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, ClassVar

from slipway.backup.offsite import storage as offsite_storage
from slipway.config import values
from slipway.core import redaction
from slipway.core.errors import Refused
from slipway.secret.rotation.base import CHECK, MOVE, PROBE, RECORD, VALUE, Renewal, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STORAGE, OPTIONS = "BACKUP_URL", "BACKUP_URL_OPTIONS"
LONGEST = 64 * 1024


class Given(Renewal):
    """A renewal of what a provider gives."""

    steps: ClassVar[tuple[str, ...]] = (VALUE, PROBE, RECORD, MOVE, CHECK)
    doing: ClassVar[Mapping[str, str]] = {**Renewal.doing, PROBE: "asking whoever takes it"}
    asked = ""
    """What was typed."""

    def plan(self) -> Iterator[tuple[str, str]]:
        """Yield each step, and what it will do."""
        yield VALUE, "the one that you are asked for next"
        yield PROBE, f"the storage of {STORAGE} takes it" if self._is_storage else "none is known"
        yield RECORD, f"into {self.path.name}; the one before is forgotten here"
        how = "while it runs" if self._is_storage else "handed the new one and started anew"
        yield MOVE, f"{listed(self.running()) or 'nothing runs'}: {how}"
        yield CHECK, "every service is healthy; then have the one before withdrawn where it is from"

    @property
    def _is_storage(self) -> bool:
        return self.name == OPTIONS

    def ask(self) -> None:
        """Let a person type the value unseen, or read it from what is piped in."""
        if sys.stdin.isatty():
            self.asked = getpass.getpass(f"The new value of {self.name} (it is not shown): ")
        else:
            self.asked = sys.stdin.read(LONGEST).removesuffix("\n")

    def value(self) -> str:
        """Look at the value that was given."""
        redaction.learn([self.asked])
        self.refuse_ill()
        variable = self.order.variable
        if not self.asked:
            raise Refused(f"no value was given for {self.name}", "type it, or pipe it in")
        if should := variable.wrong(self.asked):
            raise Refused(f"what was given for {self.name} {should}")
        if self.asked == self.values[self.name].value:
            raise Refused(f"what was given for {self.name} is what it has already")
        if self.left:
            self._moved()
            self.done.moved.clear()
        self.new = {self.name: self.asked}
        return "given"

    def probe(self) -> str:
        """Use the value where it is for, if that is known."""
        if not self._is_storage:
            return "nothing is known to try it on"
        held = values.held(self.project, self.session.profile, self.engine.name)
        options = offsite_storage.read_options(self.new[self.name])
        if STORAGE not in held:
            return f"{STORAGE} is not set"
        storage = offsite_storage.opened(held[STORAGE], options)
        return f"{storage.shown} holds {len(storage.sizes())} files"

    def follow(self, service: str) -> None:
        """Start a service anew, but one that reads it each time it needs it."""
        if not self._is_storage:
            super().follow(service)

    def told(self) -> str:
        """Say what holds in the end."""
        return f"{self.name} is the one that was given. Have the one before withdrawn now."
