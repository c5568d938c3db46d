"""What restore points there are, here and off-site, and the pruning of those that are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from slipway.backup import restore_point
from slipway.backup.offsite.copies import OffsiteCopy, OffsiteListing
from slipway.backup.retention import reasons_to_keep
from slipway.core import output
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.backup.offsite.copies import OffsiteFolder
    from slipway.backup.restore_point import RestorePoint
    from slipway.backup.retention import RetentionPolicy

Judged = TypeVar("Judged", "RestorePoint", "OffsiteCopy")
LEFTOVER = "left by who was killed making or deleting it"


def _point_columns(point: RestorePoint) -> Iterator[tuple[str, object]]:
    yield from (("id", point.id), ("age", output.format_elapsed(point.age)))
    yield from (("size", output.format_size(point.size)), ("verified", point.state))
    yield from (("kind", point.kind), ("of", "/".join(point.series)), ("holds", point.summary))


@dataclass(frozen=True)
class CatalogEntry:
    """One restore point, wherever it is."""

    point: RestorePoint | None
    copy: OffsiteCopy | None

    @property
    def order(self) -> tuple[int, Any]:
        """What puts it among the others."""
        found = self.point or self.copy
        return (found.sequence, found.created) if found else (0, None)

    @property
    def where(self) -> str:
        """Say where it is."""
        if self.point and self.copy:
            return "both" if self.copy.whole else "here; DAMAGED off-site"
        return "here" if self.point else "off-site"

    def described(self) -> Iterator[tuple[str, object]]:
        """Yield what a person reads of it in a list."""
        if self.point:
            yield from _point_columns(self.point)
        elif copy := self.copy:
            yield from (("id", copy.id), ("age", output.format_elapsed(copy.age)))
            yield from (("size", output.format_size(copy.size)), ("verified", copy.state))
            yield from (("kind", copy.kind), ("of", "/".join(copy.series)))
            yield ("holds", "encrypted" if copy.encrypted else "")

    def facts(self, *, asked: bool) -> dict[str, Any]:
        """Return what a script reads of it; what was not asked is None."""
        said: dict[str, Any] = {}
        if self.point:
            said = {key: value for key, value in self.point.manifest.items() if key != "files"}
            said |= {"bytes": self.point.size, "missing": self.point.missing}
        elif self.copy:
            said = {key: value for key, value in self.copy.facts.items() if key != "sha256"}
        return said | {"here": bool(self.point), "offsite": bool(self.copy) if asked else None}


@dataclass(frozen=True)
class Catalog:
    """All of them, the oldest first."""

    items: list[CatalogEntry]
    away: OffsiteFolder | None
    look: OffsiteListing
    wrong: str = ""
    """Why it is not known what is off-site."""

    @property
    def asked(self) -> bool:
        """Tell whether it is known what is off-site; with none set up, nothing is."""
        return not self.wrong

    def rows(self) -> list[dict[str, object]]:
        """Return what a person reads, the newest first."""
        rows = [dict(item.described()) for item in reversed(self.items)]
        if not self.away:
            return rows
        places = [item.where if self.asked else "here" for item in reversed(self.items)]
        return [
            {"id": row.pop("id"), "where": place, **row}
            for place, row in zip(places, rows, strict=True)
        ]

    def remarks(self, folder: Path) -> Iterator[str]:
        """Yield what else has to be said."""
        for name, wrong in restore_point.unreadable_points(folder):
            yield f"{name} cannot be used: {wrong}"
        yield from filter(None, (*self.look.strange, self.wrong))


def read_catalog(folder: Path, away: OffsiteFolder | None) -> Catalog:
    """Return what is here and off-site; a storage that does not answer keeps nothing back."""
    look, wrong = OffsiteListing([], [], []), ""
    if away:
        try:
            look = away.looked()
        except Refused as error:
            wrong = f"What is off-site is not known: {error.what}"
    here = {point.id: point for point in restore_point.list_points(folder)}
    there = {copy.id: copy for copy in look.copies}
    items = [CatalogEntry(here.get(id_), there.get(id_)) for id_ in {**here, **there}]
    return Catalog(sorted(items, key=lambda item: item.order), away, look, wrong)


@dataclass(frozen=True)
class PruningPlan:
    """What stays and why, and what goes."""

    folder: Path
    away: OffsiteFolder | None
    policy: RetentionPolicy
    known: Sequence[RestorePoint]
    left: Sequence[Path]
    look: OffsiteListing
    wrong: str
    """Why it is not known what is off-site: then nothing goes there."""
    kind: str = ""
    """Only those made for that reason go; where it is empty, all."""

    @property
    def _stay(self) -> dict[str, str]:
        return reasons_to_keep(self.known, self.policy)

    @property
    def _stay_away(self) -> dict[str, str]:
        return reasons_to_keep(self.look.copies, self.policy)

    @property
    def going(self) -> list[RestorePoint]:
        """The restore points that go, the oldest first."""
        return self._gone(self.known)

    @property
    def going_away(self) -> list[OffsiteCopy]:
        """The copies that go, the oldest first."""
        return self._gone(self.look.copies)

    def _gone(self, all_: Sequence[Judged]) -> list[Judged]:
        stay = reasons_to_keep(all_, self.policy)
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
        parts = [f"{len(self.going)} restore points ({output.format_size(here)})"]
        if self.away:
            there = sum(copy.size for copy in self.going_away)
            parts.append(f"{len(self.going_away)} off-site copies ({output.format_size(there)})")
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
        output.show(
            rows, as_json=False, empty=f"No restore point yet. Next: {restore_point.CREATE_COMMAND}"
        )
        for name in (*(path.name for path in self.left), *self.left_away):
            output.say(f"{name}: DELETE ({LEFTOVER})")
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
                "age": output.format_elapsed(point.age),
                "size": output.format_size(point.size),
                "verified": point.state,
                "plan": self._planned(point, stay),
            }

    def _rows_away(self) -> Iterator[dict[str, str]]:
        stay = self._stay_away
        for copy in reversed(self.look.copies):
            yield {
                "id": copy.id,
                "where": "off-site",
                "age": output.format_elapsed(copy.age),
                "size": output.format_size(copy.size),
                "verified": copy.state,
                "plan": self._planned(copy, stay),
            }

    def _planned(self, one: RestorePoint | OffsiteCopy, stay: Mapping[str, str]) -> str:
        other = f"it is {one.kind}" if self.kind not in ("", one.kind) else ""
        why = stay.get(one.id, other)
        return f"keep: {why}" if why else "DELETE"

    def carry_out(self) -> None:
        """Delete what was shown, unless it has become the one to keep meanwhile.

        Raises:
            Refused: the storage does not answer any more; what is here is deleted.
        """
        restore_point.clear_partials(restore_point.list_partials(self.folder))
        now = plan_pruning(self.folder, self.away, self.policy, self.kind)
        shown = {point.id for point in self.going}
        for point in now.going:
            if point.id in shown:
                restore_point.remove_point(point)
        if self.away and not self.wrong:
            self._carry_out_away(self.away, now)

    def _carry_out_away(self, away: OffsiteFolder, now: PruningPlan) -> None:
        if now.wrong:
            raise Refused(now.wrong, "inv backup.prune")
        shown = {copy.id for copy in self.going_away}
        for copy in now.going_away:
            if copy.id in shown:
                away.remove(copy)
        for name in {*self.left_away} & {*now.left_away}:
            away.storage.remove(name)


def plan_pruning(
    folder: Path, away: OffsiteFolder | None, policy: RetentionPolicy, kind: str = ""
) -> PruningPlan:
    """Decide by a policy what stays; here and off-site each on their own."""
    found = read_catalog(folder, away)
    known = [item.point for item in found.items if item.point]
    left = restore_point.list_partials(folder)
    return PruningPlan(folder, away, policy, known, left, found.look, found.wrong, kind)
