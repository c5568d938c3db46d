"""What restore points there are, and where each is: here, off-site, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.backup import restore_point
from slipway.backup.offsite.copies import OffsiteCopy, OffsiteListing
from slipway.core import output
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipway.backup.offsite.copies import OffsiteFolder
    from slipway.backup.restore_point import RestorePoint


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
