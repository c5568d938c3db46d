"""The restore points there are, here and off-site, and the pruning of those no longer kept."""

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
UNPROVEN = "imported, and not verified here yet"
LEFTOVER = "left behind when its creation or deletion was killed"


def _point_columns(point: RestorePoint) -> Iterator[tuple[str, object]]:
    yield from (("id", point.id), ("age", output.format_elapsed(point.age)))
    yield from (("size", output.format_size(point.size)), ("verified", point.state))
    yield from (("kind", point.kind), ("of", "/".join(point.series)), ("holds", point.summary))


@dataclass(frozen=True)
class CatalogEntry:
    """One restore point, here or off-site."""

    point: RestorePoint | None
    copy: OffsiteCopy | None

    @property
    def order(self) -> tuple[int, Any]:
        """The key to sort by."""
        found = self.point or self.copy
        return (found.sequence, found.created) if found else (0, None)

    @property
    def where(self) -> str:
        """Where it is, in words."""
        if self.point and self.copy:
            return "both" if self.copy.whole else "here; DAMAGED off-site"
        return "here" if self.point else "off-site"

    def described(self) -> Iterator[tuple[str, object]]:
        """Yield the columns of a list."""
        if self.point:
            yield from _point_columns(self.point)
        elif copy := self.copy:
            yield from (("id", copy.id), ("age", output.format_elapsed(copy.age)))
            yield from (("size", output.format_size(copy.size)), ("verified", copy.state))
            yield from (("kind", copy.kind), ("of", "/".join(copy.series)))
            yield ("holds", "encrypted" if copy.encrypted else "")

    def facts(self, *, asked: bool) -> dict[str, Any]:
        """Return what a script reads; what is not known is None."""
        said: dict[str, Any] = {}
        if self.point:
            said = {key: value for key, value in self.point.manifest.items() if key != "files"}
            said |= {"bytes": self.point.size, "missing": self.point.missing}
        elif self.copy:
            said = {key: value for key, value in self.copy.facts.items() if key != "sha256"}
        return said | {"here": bool(self.point), "offsite": bool(self.copy) if asked else None}


@dataclass(frozen=True)
class Catalog:
    """All restore points, oldest first."""

    items: list[CatalogEntry]
    away: OffsiteFolder | None
    look: OffsiteListing
    wrong: str = ""
    """Why the off-site copies are not known."""

    @property
    def offsite_known(self) -> bool:
        """Tell whether the off-site copies are known; with no storage set, there are none."""
        return not self.wrong

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of a list, newest first."""
        rows = [dict(item.described()) for item in reversed(self.items)]
        if not self.away:
            return rows
        places = [item.where if self.offsite_known else "here" for item in reversed(self.items)]
        return [
            {"id": row.pop("id"), "where": place, **row}
            for place, row in zip(places, rows, strict=True)
        ]

    def warnings(self, folder: Path) -> Iterator[str]:
        """Yield what cannot be used or reached, and why."""
        for name, wrong in restore_point.unreadable_points(folder):
            yield f"{name} cannot be used: {wrong}"
        yield from filter(None, (*self.look.unusable, self.wrong))


def read_catalog(folder: Path, away: OffsiteFolder | None) -> Catalog:
    """List the restore points here and off-site, even if the storage does not answer."""
    look, wrong = OffsiteListing([], [], []), ""
    if away:
        try:
            look = away.list_copies()
        except Refused as error:
            wrong = f"The off-site copies are not known: {error.what}"
    here = {point.id: point for point in restore_point.list_points(folder)}
    there = {copy.id: copy for copy in look.copies}
    items = [CatalogEntry(here.get(id_), there.get(id_)) for id_ in {**here, **there}]
    return Catalog(sorted(items, key=lambda item: item.order), away, look, wrong)


@dataclass(frozen=True)
class PruningPlan:
    """What is kept and why, and what is deleted."""

    folder: Path
    away: OffsiteFolder | None
    policy: RetentionPolicy
    known: Sequence[RestorePoint]
    leftover_folders: Sequence[Path]
    look: OffsiteListing
    wrong: str
    """Why the off-site copies are not known: then none of them is deleted."""
    kind: str = ""
    """Delete only points of this kind; of any kind if empty."""

    @property
    def _kept_points(self) -> dict[str, str]:
        waiting = {point.id: UNPROVEN for point in self.known if point.imported}
        return waiting | reasons_to_keep(self.known, self.policy)

    @property
    def _kept_copies(self) -> dict[str, str]:
        return reasons_to_keep(self.look.copies, self.policy)

    @property
    def expired_points(self) -> list[RestorePoint]:
        """The restore points to delete, oldest first."""
        return self._expired(self.known, self._kept_points)

    @property
    def expired_copies(self) -> list[OffsiteCopy]:
        """The copies to delete, oldest first."""
        return self._expired(self.look.copies, self._kept_copies)

    def _expired(self, all_: Sequence[Judged], stay: Mapping[str, str]) -> list[Judged]:
        return [one for one in all_ if one.id not in stay and self.kind in ("", one.kind)]

    @property
    def offsite_leftovers(self) -> list[str]:
        """What killed uploads left off-site."""
        return self.look.leftovers({point.id for point in self.known})

    @property
    def empty(self) -> bool:
        """Tell whether there is nothing to delete."""
        return not (
            self.expired_points
            or self.leftover_folders
            or self.expired_copies
            or self.offsite_leftovers
        )

    @property
    def counts(self) -> str:
        """How much is deleted, in words."""
        here = sum(point.size for point in self.expired_points)
        leftovers = len(self.leftover_folders) + len(self.offsite_leftovers)
        parts = [f"{len(self.expired_points)} restore points ({output.format_size(here)})"]
        if self.away:
            there = sum(copy.size for copy in self.expired_copies)
            parts.append(
                f"{len(self.expired_copies)} off-site copies ({output.format_size(there)})"
            )
        return f"{', '.join(parts)} and {leftovers} leftovers"

    @property
    def facts(self) -> dict[str, list[str]]:
        """What the journal records."""
        away = [copy.id for copy in self.expired_copies]
        deleted = {"deleted": [point.id for point in self.expired_points]}
        return deleted | ({"deleted_offsite": away} if away else {})

    def show(self) -> None:
        """Print the plan."""
        rows = [*self._offsite_rows(), *self._rows()]
        output.show(
            rows, as_json=False, empty=f"No restore point yet. Next: {restore_point.CREATE_COMMAND}"
        )
        for name in (*(path.name for path in self.leftover_folders), *self.offsite_leftovers):
            output.say(f"{name}: DELETE ({LEFTOVER})")
        for line in filter(None, (self.wrong, *self.look.unusable)):
            output.say(line)
        if self.empty:
            output.say("Nothing to delete.")

    def _rows(self) -> Iterator[dict[str, str]]:
        stay = self._kept_points
        for point in reversed(self.known):
            yield {
                "id": point.id,
                **({"where": "here"} if self.away else {}),
                "age": output.format_elapsed(point.age),
                "size": output.format_size(point.size),
                "verified": point.state,
                "plan": self._planned(point, stay),
            }

    def _offsite_rows(self) -> Iterator[dict[str, str]]:
        stay = self._kept_copies
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

    def apply(self) -> None:
        """Delete what was shown, except what has to be kept by now.

        Raises:
            Refused: the storage no longer answers; the points here are deleted.
        """
        restore_point.clear_partials(restore_point.list_partials(self.folder))
        now = plan_pruning(self.folder, self.away, self.policy, self.kind)
        shown = {point.id for point in self.expired_points}
        for point in now.expired_points:
            if point.id in shown:
                restore_point.remove_point(point)
        if self.away and not self.wrong:
            self._apply_offsite(self.away, now)

    def _apply_offsite(self, away: OffsiteFolder, now: PruningPlan) -> None:
        if now.wrong:
            raise Refused(now.wrong, "inv backup.prune")
        shown = {copy.id for copy in self.expired_copies}
        for copy in now.expired_copies:
            if copy.id in shown:
                away.remove(copy)
        for name in {*self.offsite_leftovers} & {*now.offsite_leftovers}:
            away.storage.remove(name)


def plan_pruning(
    folder: Path, away: OffsiteFolder | None, policy: RetentionPolicy, kind: str = ""
) -> PruningPlan:
    """Apply a policy to the restore points here and to the off-site copies, separately."""
    found = read_catalog(folder, away)
    known = [item.point for item in found.items if item.point]
    left = restore_point.list_partials(folder)
    return PruningPlan(folder, away, policy, known, left, found.look, found.wrong, kind)
