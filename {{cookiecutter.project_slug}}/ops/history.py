"""What each tier served when: read from the journal, and from the links as they are now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ops import journal, registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

MOVES = ("models.promote", "models.rollback")


@dataclass(frozen=True)
class Period:
    """A time in which a tier served one version."""

    tier: str
    version: str
    since: str
    """When it began (ISO 8601, UTC); empty where nobody saw it begin."""
    until: str | None
    """When it ended; None for what is served now, empty where nobody saw it end."""
    by: str
    how: str


def periods(root: Path, models: Path) -> list[Period]:
    """Return all periods, oldest first."""
    return told(journal.entries(root), served_now(models))


def served_now(models: Path) -> dict[str, str]:
    """Return the version that each tier serves."""
    return {tier: served(models, tier) for tier in registry.tiers(models)}


def served(models: Path, tier: str) -> str:
    """Return the version that a tier's link names; the file's name where that has no metadata."""
    name = registry.pointed(models, tier)
    versions = {item.file.name: item.version for item in registry.models(models)}
    return versions.get(name, name)


def told(entries: Iterable[Mapping[str, Any]], now: Mapping[str, str]) -> list[Period]:
    """Put the periods together from what was recorded and what is served `now`, by tier."""
    found: list[Period] = []
    for entry in entries:
        how = " ".join(filter(None, [entry["verb"], entry.get("why")]))
        for tier, version in _moved(entry).items():
            _turn(found, Period(tier, version, entry["at"], None, entry["by"], how))
    for tier, version in now.items():
        _turn(found, Period(tier, version, "", None, "", "the link was moved by other means"))
    return found


def _moved(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what an entry says is served after it, by tier."""
    if entry.get("outcome") != "done":
        return {}
    if entry["verb"] in MOVES:
        return {entry["tier"]: entry["to"]}
    return dict(entry.get("models") or {})


def _turn(found: list[Period], following: Period) -> None:
    """Begin a period and end the tier's last one, unless that goes on."""
    last = next((n for n in reversed(range(len(found))) if found[n].tier == following.tier), None)
    if last is not None:
        if found[last].version == following.version:
            return
        found[last] = replace(found[last], until=following.since)
    found.append(following)


def live_since(all_: Iterable[Period], window: timedelta) -> set[tuple[str, str]]:
    """Return tier and version of what was live at any time in a window that ends now."""
    start = datetime.now(UTC) - window
    return {
        (item.tier, item.version)
        for item in all_
        if not item.until or datetime.fromisoformat(item.until) >= start
    }


def before(all_: Sequence[Period], tier: str) -> list[str]:
    """Return the versions that a tier served before the present one, the last one first."""
    mine = [item.version for item in all_ if item.tier == tier]
    return [version for version in reversed(mine[:-1]) if version != mine[-1]]
