"""Pruning: old restore points go, here and off-site, by the same policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from slipway.backup import catalog, create, restore_point, retention
from slipway.core import output
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.backup.offsite.copies import Copy, Look, Offsite
    from slipway.backup.restore_point import Point
    from slipway.backup.retention import Policy

Judged = TypeVar("Judged", "Point", "Copy")
KILLED = "left by who was killed making or deleting it"


@dataclass(frozen=True)
class Plan:
    """What stays and why, and what goes."""

    folder: Path
    away: Offsite | None
    policy: Policy
    known: Sequence[Point]
    left: Sequence[Path]
    look: Look
    wrong: str
    """Why it is not known what is off-site: then nothing goes there."""
    kind: str = ""
    """Only those made for that reason go; where it is empty, all."""

    @property
    def _stay(self) -> dict[str, str]:
        return retention.kept(self.known, self.policy)

    @property
    def _stay_away(self) -> dict[str, str]:
        return retention.kept(self.look.copies, self.policy)

    @property
    def going(self) -> list[Point]:
        """The restore points that go, the oldest first."""
        return self._gone(self.known)

    @property
    def going_away(self) -> list[Copy]:
        """The copies that go, the oldest first."""
        return self._gone(self.look.copies)

    def _gone(self, all_: Sequence[Judged]) -> list[Judged]:
        stay = retention.kept(all_, self.policy)
        return [one for one in all_ if one.id not in stay and self.kind in ("", one.kind)]

    @property
    def left_away(self) -> list[str]:
        """What uploads that were killed left off-site."""
        return self.look.leftovers({point.id for point in self.known})

    @property
    def empty(self) -> bool:
        """Tell whether nothing goes."""
        return not (self.going or self.left or self.going_away or self.left_away)

    @property
    def counts(self) -> str:
        """Say how much goes."""
        here = sum(point.size for point in self.going)
        leftovers = len(self.left) + len(self.left_away)
        parts = [f"{len(self.going)} restore points ({create.size(here)})"]
        if self.away:
            there = sum(copy.size for copy in self.going_away)
            parts.append(f"{len(self.going_away)} off-site copies ({create.size(there)})")
        return f"{', '.join(parts)} and {leftovers} leftovers"

    @property
    def facts(self) -> dict[str, list[str]]:
        """What the journal keeps of it."""
        away = [copy.id for copy in self.going_away]
        deleted = {"deleted": [point.id for point in self.going]}
        return deleted | ({"deleted_offsite": away} if away else {})

    def show(self) -> None:
        """Print it."""
        rows = [*self._rows_away(), *self._rows()]
        output.show(rows, as_json=False, empty=f"No restore point yet. Next: {restore_point.NEXT}")
        for name in (*(path.name for path in self.left), *self.left_away):
            output.say(f"{name}: DELETE ({KILLED})")
        for line in filter(None, (self.wrong, *self.look.strange)):
            output.say(line)
        if self.empty:
            output.say("Nothing to delete.")

    def _rows(self) -> Iterator[dict[str, str]]:
        stay = self._stay
        for point in reversed(self.known):
            yield {
                "id": point.id,
                **({"where": "here"} if self.away else {}),
                "age": create.age(point),
                "size": create.size(point.size),
                "verified": create.state(point),
                "plan": self._planned(point, stay),
            }

    def _rows_away(self) -> Iterator[dict[str, str]]:
        stay = self._stay_away
        for copy in reversed(self.look.copies):
            yield {
                "id": copy.id,
                "where": "off-site",
                "age": create.elapsed(copy.age),
                "size": create.size(copy.size),
                "verified": copy.state,
                "plan": self._planned(copy, stay),
            }

    def _planned(self, one: Point | Copy, stay: Mapping[str, str]) -> str:
        other = f"it is {one.kind}" if self.kind not in ("", one.kind) else ""
        why = stay.get(one.id, other)
        return f"keep: {why}" if why else "DELETE"

    def carry_out(self) -> None:
        """Delete what was shown, unless it has become the one to keep meanwhile.

        Raises:
            Refused: the storage does not answer any more; what is here is deleted.
        """
        restore_point.clear(restore_point.partials(self.folder))
        now = planned(self.folder, self.away, self.policy, self.kind)
        shown = {point.id for point in self.going}
        for point in now.going:
            if point.id in shown:
                restore_point.remove(point)
        if self.away and not self.wrong:
            self._carry_out_away(self.away, now)

    def _carry_out_away(self, away: Offsite, now: Plan) -> None:
        if now.wrong:
            raise Refused(now.wrong, "inv backup.prune")
        shown = {copy.id for copy in self.going_away}
        for copy in now.going_away:
            if copy.id in shown:
                away.remove(copy)
        for name in {*self.left_away} & {*now.left_away}:
            away.storage.remove(name)


def planned(folder: Path, away: Offsite | None, policy: Policy, kind: str = "") -> Plan:
    """Decide by a policy what stays; here and off-site each on their own."""
    found = catalog.known(folder, away)
    known = [item.point for item in found.items if item.point]
    left = restore_point.partials(folder)
    return Plan(folder, away, policy, known, left, found.look, found.wrong, kind)
