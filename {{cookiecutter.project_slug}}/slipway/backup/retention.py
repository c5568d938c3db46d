"""Retention: which restore points are kept, and the pruning of the others, here and off-site.

Days, weeks, months and years count only if they have a verified restore point, whatever the
calendar says: after a month without backups, the points before it are still the last seven days'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from slipway.backup import catalog, restore_point
from slipway.core import output
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from slipway.backup.offsite.copies import OffsiteCopy, OffsiteFolder, OffsiteListing
    from slipway.backup.restore_point import RestorePoint

    class RetentionItem(Protocol):
        """What is judged: a restore point, or a copy of one elsewhere."""

        @property
        def id(self) -> str:
            """What it is called."""

        @property
        def sequence(self) -> int:
            """What orders it among others."""

        @property
        def created(self) -> datetime:
            """When it was made."""

        @property
        def kind(self) -> str:
            """Why it was made."""

        @property
        def series(self) -> tuple[str, str]:
            """Whose data it holds."""

        @property
        def good(self) -> bool:
            """Tell whether it was proven, and is still there."""


LONGEST_GAP = timedelta(hours=48)
"""So long without a restore point means that something was wrong."""
DAILY = 7
Judged = TypeVar("Judged", "RestorePoint", "OffsiteCopy")
LEFTOVER = "left by who was killed making or deleting it"


@dataclass(frozen=True)
class RetentionPolicy:
    """How many stay: the last ones of so many days, weeks, months and years."""

    daily: int = DAILY
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The counts by the name of what they count."""
        return {
            "day": self.daily,
            "week": self.weekly,
            "month": self.monthly,
            "year": self.yearly,
        }


def parse_policy(text: str) -> RetentionPolicy:
    """Read a policy as BACKUP_KEEP has it: days, weeks, months and years, such as 7,4,12,0.

    Raises:
        Refused: it is none.
    """
    counts = text.split(",")
    if len(counts) > len(RetentionPolicy().counts) or not all(map(str.isdecimal, counts)):
        what = f"BACKUP_KEEP should be counts of days, weeks, months and years, not {text!r}"
        raise Refused(what, "such as 7,4,12,0: inv env.show", code=2)
    return RetentionPolicy(*map(int, counts), *[0] * (len(RetentionPolicy().counts) - len(counts)))


PERIODS: dict[str, Callable[[datetime], Hashable]] = {
    "day": lambda at: at.date(),
    "week": lambda at: at.isocalendar()[:2],
    "month": lambda at: (at.year, at.month),
    "year": lambda at: at.year,
}


def reasons_to_keep(points: Iterable[RetentionItem], policy: RetentionPolicy) -> dict[str, str]:
    """Return the id of each restore point that stays, with the reason.

    What restores made of what was there is judged by itself: it may be what went wrong, and must
    not take the place of what is good.
    """
    series: dict[tuple[str, str, bool], list[RetentionItem]] = {}
    for point in sorted(points, key=lambda item: item.sequence):
        series.setdefault((*point.series, point.kind == restore_point.SAFETY), []).append(point)
    return {id_: why for ours in series.values() for id_, why in _kept(ours, policy).items()}


def _kept(ours: Sequence[RetentionItem], policy: RetentionPolicy) -> dict[str, str]:
    """Decide over the points of the same data, the oldest first."""
    good = [point for point in ours if point.good]
    if not good:
        return {point.id: "none is verified" for point in ours}
    reasons = {good[-1].id: "the newest verified"}
    for name, count in policy.counts.items():
        for number, point in enumerate(_last(good, PERIODS[name], count), start=1):
            reasons.setdefault(point.id, f"the last of its {name} ({number} of {count})")
    since = [point for point in ours if point.sequence > good[-1].sequence]
    reasons = {point.id: "newer than the newest verified" for point in since} | reasons
    return _after_gap(ours, policy) | reasons


def _last(
    good: Sequence[RetentionItem], period: Callable[[datetime], Hashable], count: int
) -> list[RetentionItem]:
    """Return the last point of each of the last periods that have one."""
    found: dict[Hashable, RetentionItem] = {}
    for point in reversed(good):
        found.setdefault(period(point.created), point)
    return [*found.values()][:count]


def _after_gap(ours: Sequence[RetentionItem], policy: RetentionPolicy) -> dict[str, str]:
    """Keep what was made since the last gap, and the last good one before it.

    Only until there is as much as the policy counts days: something was wrong then, and nobody
    may have seen yet what.
    """
    begins = [
        number
        for number in range(1, len(ours))
        if abs(ours[number].created - ours[number - 1].created) > LONGEST_GAP
    ]
    if not begins:
        return {}
    before, after = ours[: begins[-1]], ours[begins[-1] :]
    days = {point.created.date() for point in after if point.good}
    if len(days) >= (policy.daily or DAILY):
        return {}
    last = [point for point in before if point.good][-1:]
    return dict.fromkeys((point.id for point in after), "made since the last gap") | dict.fromkeys(
        (point.id for point in last), "the last verified before a gap"
    )


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
    found = catalog.read_catalog(folder, away)
    known = [item.point for item in found.items if item.point]
    left = restore_point.list_partials(folder)
    return PruningPlan(folder, away, policy, known, left, found.look, found.wrong, kind)
