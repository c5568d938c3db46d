"""What each tier served when: read from the journal, and from the links as they are now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from slipway.core import journal, transaction
from slipway.models import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

MOVES = ("models.promote", "models.rollback")
MOVED = ("replicas", "watch")
"""The steps of a promotion after its link was moved."""

OTHERWISE = "the link was moved by other means"
"""How a tier came to serve a version, where no task recorded it."""
FIRST = "nothing is recorded before it"
"""The same for a tier with no record at all: a worker or a person brought the version."""


@dataclass(frozen=True)
class ServedPeriod:
    """A time in which a tier served one version."""

    tier: str
    version: str
    since: str
    """When it began (ISO 8601, UTC); empty if that is not recorded."""
    until: str | None
    """When it ended; None for what is served now, empty if that is not recorded."""
    by: str
    how: str


def served_periods(root: Path, models: Path) -> list[ServedPeriod]:
    """Return all periods, oldest first."""
    return join_periods(recorded_changes(root), served_versions(models))


def recorded_changes(root: Path) -> list[dict[str, Any]]:
    """Return the journal, and after it a killed change that no other has followed yet."""
    left = transaction.killed_change(root)
    noted = {**left, "at": left["since"], "by": left["owner"], "outcome": "killed"} if left else {}
    return [*journal.entries(root), *([noted] if noted else [])]


def interrupted_promotion(root: Path) -> dict[str, Any] | None:
    """Return the last promotion if it was killed, and none of its tier has ended since."""
    moves = [item for item in recorded_changes(root) if item["verb"] in MOVES and "tier" in item]
    killed = [item for item in moves if item["outcome"] == "killed"]
    last = killed[-1] if killed else None
    after = moves[moves.index(last) + 1 :] if last else []
    return None if last is None or any(item["tier"] == last["tier"] for item in after) else last


def served_versions(models: Path) -> dict[str, str]:
    """Return the version that each tier serves."""
    return {tier: served_version(models, tier) for tier in registry.served_tiers(models)}


def served_version(models: Path, tier: str) -> str:
    """Return the version that a tier's link names, or the file's name if it has no metadata."""
    return version_of(models, tier, registry.served_file(models, tier))


def version_of(models: Path, tier: str, file: str) -> str:
    """Return the version of a file of a tier, or its name if it is none."""
    found = registry.list_models(models)
    versions = {item.file.name: item.version for item in found if item.tier == tier}
    return versions.get(file, file)


def join_periods(
    entries: Iterable[Mapping[str, Any]], now: Mapping[str, str]
) -> list[ServedPeriod]:
    """Put the periods together from what was recorded and what is served now, by tier."""
    found: list[ServedPeriod] = []
    for entry in entries:
        how = " ".join(filter(None, [entry["verb"], entry.get("why")]))
        for tier, version in _moved(entry).items():
            if entry["verb"] in MOVES and entry.get("from"):
                _add_period(found, ServedPeriod(tier, entry["from"], "", None, "", OTHERWISE))
            _add_period(found, ServedPeriod(tier, version, entry["at"], None, entry["by"], how))
    for tier, version in now.items():
        how = OTHERWISE if any(item.tier == tier for item in found) else FIRST
        _add_period(found, ServedPeriod(tier, version, "", None, "", how))
    return found


def _moved(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that are served after an entry, by tier."""
    moved = entry.get("outcome") == "done" or (
        entry.get("outcome") == "killed" and entry.get("step") in MOVED
    )
    if moved and entry["verb"] in MOVES:
        return {entry["tier"]: entry["to"]}
    return dict(entry.get("models") or {}) if moved else {}


def _add_period(found: list[ServedPeriod], following: ServedPeriod) -> None:
    """Begin a period, and end the tier's last one unless it goes on."""
    last = next((n for n in reversed(range(len(found))) if found[n].tier == following.tier), None)
    if last is not None:
        if found[last].version == following.version:
            return
        found[last] = replace(found[last], until=following.since)
    found.append(following)


def live_since(
    periods: Iterable[ServedPeriod], window: timedelta, now: datetime | None = None
) -> set[tuple[str, str]]:
    """Return the tier and version of all that was live at any time in a window that ends now."""
    start = (now or datetime.now(UTC)) - window
    return {
        (item.tier, item.version)
        for item in periods
        if not item.until or datetime.fromisoformat(item.until) >= start
    }


def previous_versions(periods: Sequence[ServedPeriod], tier: str) -> list[str]:
    """Return the versions that a tier served before the current one, the last one first.

    A version that was rolled back from is left out, unless it was promoted again since.
    """
    mine = [item for item in periods if item.tier == tier]
    left: set[str] = set()
    for one, following in pairwise(mine):
        if following.how.startswith("models.rollback"):
            left.add(one.version)
        left.discard(following.version)
    now = {item.version for item in mine[-1:]}
    return [item.version for item in reversed(mine[:-1]) if item.version not in left | now]
