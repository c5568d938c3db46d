"""The key of the API: two open it for a while, so that its callers can change theirs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from slipway.config import values
from slipway.core.errors import Refused
from slipway.models import replicas as models_replicas
from slipway.secret.rotation import KEY, PREVIOUS, VERB, probe
from slipway.secret.rotation.base import (
    CHECK,
    LIMIT,
    MOVE,
    RECORD,
    VALUE,
    Renewal,
    counted,
    described,
    listed,
)
from slipway.secret.rotation.probe import Question

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HEADER, DOOR = "X-API-Key", "/admin/reload-model"
"""What the key opens: to have models loaded again that are loaded already changes nothing."""
SHUT, TOO_OFTEN = (401, 403), 429
TRIES = 4
"""How often each process is asked, on average: who of several answers cannot be chosen."""
SOON = timedelta(seconds=10)
"""How long a key has to open still for that to be looked at."""
PAUSE = 10.0
"""Seconds between two looks in the end: the API answers so many questions a minute."""


class Key(Renewal):
    """A renewal of API_KEY."""

    doing: ClassVar[Mapping[str, str]] = {**Renewal.doing, CHECK: "knocking at every replica"}

    def refuse(self) -> None:
        """Find what stands against it: a third key would stop the first before its time."""
        super().refuse()
        held = self.values.get(PREVIOUS)
        until = held.value.partition("/")[0] if held else ""
        if until and self.order.overlap and not self.left:
            left = datetime.fromisoformat(until) - datetime.now(UTC)
            if left > timedelta():
                what = f"the key before opens until {until}, and would stop now"
                raise Refused(what, f"wait, or stop both at once: inv {VERB} {KEY} --overlap 0")

    def plan(self) -> Iterator[tuple[str, str]]:
        """Yield each step, and what it will do."""
        yield VALUE, described(self.order.variable)
        yield RECORD, f"into {self.path.name}; the one before into {PREVIOUS}, {self._until()}"
        yield MOVE, f"{listed(self.running()) or 'nothing runs'}: while it runs"
        yield CHECK, f"every replica is asked: {self._who()}"

    def _until(self) -> str:
        if not self.order.overlap:
            return "which it leaves at once"
        until = datetime.now(UTC) + self.order.overlap
        return f"which opens them too until {until:%Y-%m-%d %H:%M} UTC"

    def _who(self) -> str:
        return "both open" if self.order.overlap else "the new one opens, the one before does not"

    def value(self) -> str:
        """Make the new value, and say until when the one before holds."""
        said = super().value()
        before = self.values[self.name].value
        self.until = datetime.now(UTC) + self.order.overlap
        self.new[PREVIOUS] = previous(before, self.until) if self.order.overlap else ""
        return said

    def in_turn(self, names: Iterable[str]) -> list[str]:
        """Return the one before first: there is no moment in which it does not open."""
        return sorted(names, key=lambda name: name != PREVIOUS)

    def follow(self, service: str) -> None:
        """Have nothing to wait for: it is read anew, which `check` will see."""

    def check(self) -> str:
        """See that every process lets in who has the new key, and who has the one before or not."""
        said = super().check()
        count = self._await()
        return f"{said}; {counted(count, 'replica')} asked: {self._who()}" if count else said

    def _wanted(self) -> dict[str, bool]:
        """Return which key opens now, and which does not; nothing of one that is about to stop."""
        held = values.held(self.project, self.session.profile, self.engine.name)
        until, _, before = held.get(PREVIOUS, "").partition("/")
        if not until:
            return {held[KEY]: True, self.values[KEY].value: self.values[KEY].value == held[KEY]}
        left = datetime.fromisoformat(until) - datetime.now(UTC)
        return {held[KEY]: True, **({before: True} if left > SOON else {})}

    def _await(self) -> int:
        """Wait until every process lets in who has a key that it should; return of how many.

        Raises:
            Refused: one does not within the limit.
        """
        deadline = time.monotonic() + LIMIT
        processes = len(models_replicas.processes(models_replicas.folder(self.project.run)))
        replicas = len(self.engine.replicas())
        tries = TRIES * max(1, -(-processes // max(1, replicas)))
        pause = 0.5
        while True:
            asked = [pair for pair in self._wanted().items() for _ in range(tries)]
            questions = [Question(DOOR, "POST", {HEADER: key}) for key, _ in asked]
            answers = probe.everywhere(self.session, questions)
            wrong = [
                answer
                for number, answer in enumerate(answers)
                if opened(answer.status) is not asked[number % len(asked)][1]
            ]
            if not wrong:
                return replicas
            if time.monotonic() > deadline:
                raise Refused("; ".join(map(str, wrong[:3])), "inv deploy.logs")
            time.sleep(pause)
            pause = min(PAUSE, 2 * pause)  # it answers so many a minute, and no more

    def told(self) -> str:
        """Say what holds in the end, and for how long the one before does."""
        if not self.new.get(PREVIOUS):
            return f"{self.name} is a new one, in {self.path.name}."
        return (
            f"{self.name} is a new one, in {self.path.name}: give it to those who call the admin"
            f" endpoints before {self.until:%Y-%m-%d %H:%M} UTC, when the one before stops."
        )


def previous(key: str, until: datetime) -> str:
    """Write the key before, and until when it holds."""
    return f"{until:%Y-%m-%dT%H:%M:%SZ}/{key}"


def opened(status: int) -> bool | None:
    """Say whether a key was let in; None where that cannot be told."""
    if status in SHUT:
        return False
    return None if status == TOO_OFTEN or not 200 <= status < 500 else True  # noqa: PLR2004 - of HTTP
