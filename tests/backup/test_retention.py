from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.backup import retention
from slipway.backup.restore_point import RestorePoint
from slipway.backup.retention import RetentionPolicy
from slipway.core.errors import Refused
from tests.support import restore_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slipway.backup.restore_point import RestorePoint as AnyPoint


def point(
    name: str, sequence: int, days: float, *, good: bool = True, **other: object
) -> RestorePoint:
    """Describe a restore point that has no files."""
    said = restore_points.facts(sequence, restore_points.day(days), files={}, id=name, **other)
    return RestorePoint(Path(name), said | {"verified": {"how": "by a test"} if good else None})


def series(days: Iterable[float], bad: Sequence[float] = ()) -> list[AnyPoint]:
    """Describe one a time, called by the day."""
    return [
        point(f"{at:g}", number, at, good=at not in bad) for number, at in enumerate(days, start=1)
    ]


def kept(points: Iterable[AnyPoint], **policy: int) -> list[str]:
    return sorted(retention.reasons_to_keep(points, RetentionPolicy(**policy)), key=float)


def test_the_last_of_each_of_the_last_seven_days_stays() -> None:
    twice = sorted([*range(20), *(at + 0.5 for at in range(20))])
    assert kept(series(twice)) == [f"{at + 0.5:g}" for at in range(13, 20)]


def test_what_a_restore_made_takes_the_place_of_nothing() -> None:
    good, ruined = point("1", 1, 1), point("2", 2, 1.5, kind="safety")
    assert kept([good, ruined]) == ["1", "2"]
    nights = [point(str(at), at, at) for at in range(1, 9)]
    later = [*nights, point("8.5", 9, 8.5, kind="safety")]
    assert kept(later, daily=1) == ["8", "8.5"]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("7", RetentionPolicy()),
        ("0", RetentionPolicy(0)),
        ("7,4", RetentionPolicy(7, 4)),
        ("1,2,3,4", RetentionPolicy(1, 2, 3, 4)),
    ],
)
def test_a_policy_is_read(text: str, policy: RetentionPolicy) -> None:
    assert retention.parse_policy(text) == policy


@pytest.mark.parametrize("text", ["", "7,", "-1", "7,x", "1,2,3,4,5", "7.5"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="BACKUP_KEEP must be counts"):
        retention.parse_policy(text)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"daily": 1}, ["59"]),
        ({"daily": 0}, ["59"]),
        ({"daily": 2, "weekly": 3}, ["49", "56", "58", "59"]),
        ({"daily": 0, "monthly": 2}, ["29", "59"]),
        ({"daily": 0, "yearly": 5}, ["59"]),
        ({"daily": 100}, [str(at) for at in range(60)]),
    ],
)
def test_grandfather_father_and_son(policy: dict[str, int], expected: list[str]) -> None:
    # Day 0 is Sunday 1 November 2026, day 29 the last of November, day 59 of December.
    assert kept(series(range(60)), **policy) == expected


def test_years_are_counted_by_those_that_have_one() -> None:
    days = [0, 100, 365, 800, 801]
    found = kept(series(days), daily=0, yearly=2)
    assert {"365", "801"} <= {*found}


def test_nothing_goes_while_none_is_verified() -> None:
    days = range(20)
    assert len(kept(series(days, bad=[*days]), daily=1)) == 20


def test_the_newest_verified_stays_whatever_its_age_and_what_is_newer_too() -> None:
    days = [0, 1, 2, *range(3, 40)]
    found = kept(series(days, bad=range(2, 40)), daily=1)
    assert found == [str(at) for at in range(1, 40)]


def test_what_is_not_verified_goes_once_a_newer_one_is() -> None:
    assert kept(series([0, 1, 2, 3], bad=[1, 2])) == ["0", "3"]


def test_what_was_verified_once_and_lost_its_files_counts_as_not_verified(tmp_path: Path) -> None:
    old = restore_points.write(tmp_path / "backups", 1)
    new = restore_points.write(tmp_path / "backups", 2, restore_points.day(1))
    (new.folder / "database" / "dump").unlink()
    assert retention.reasons_to_keep([old, new], RetentionPolicy(daily=1)) == {
        old.id: "the newest verified",
        new.id: "newer than the newest verified",
    }


def test_nothing_made_since_a_gap_goes_until_there_is_a_week_of_it() -> None:
    short = series([*range(10), 20, 20.2, 20.4, 21, 21.5])
    assert kept(short, daily=2) == ["20.4", "21.5"]
    found = retention.reasons_to_keep(short, RetentionPolicy(daily=5))
    assert {"9", "20", "20.2", "20.4", "21", "21.5"} <= {*found}
    assert found["20"] == "made since the last gap"
    long = [*range(20, 27)]
    assert kept(series([*range(10), *long])) == [str(at) for at in long]


def test_the_last_verified_one_before_a_gap_stays_when_those_after_it_are_not() -> None:
    assert kept(series([0, 1, 2, 9, 10], bad=[2]), daily=1) == ["10"]
    assert kept(series([0, 1, 2, 9, 10], bad=[2, 10]), daily=2) == ["1", "9", "10"]


def test_what_is_not_verified_decides_about_no_other() -> None:
    chance = random.Random(14)  # noqa: S311 - chance for tests
    for _ in range(300):
        days = sorted(chance.sample(range(60), 25))
        unproven = {at for at in days if chance.random() < 0.3}
        history = series(days, bad=[*unproven])
        policy = RetentionPolicy(*(chance.randrange(1, 9) for _ in range(4)))
        good = [item for item in history if item.good]
        alone = retention.reasons_to_keep(good, policy)
        found = retention.reasons_to_keep(history, policy)
        assert {item.id: found.get(item.id) for item in good} == {
            item.id: alone.get(item.id) for item in good
        }


def test_weekly_ones_have_a_gap_before_each_and_are_kept_by_the_weeks() -> None:
    found = kept(series(range(0, 70, 7)), daily=0, weekly=4)
    assert found == ["42", "49", "56", "63"]


def test_exactly_two_days_between_points_are_no_gap() -> None:
    assert kept(series([0, 2, 2.2, 2.4]), daily=2) == ["0", "2.4"]
    assert kept(series([0, 2.001, 2.2, 2.4]), daily=2) == ["0", "2.001", "2.2", "2.4"]


def test_a_clock_set_back_is_a_gap() -> None:
    days = [30, 31, 32, 3, 4]
    found = kept(series(days), daily=3)
    assert {"3", "4", "32"} <= {*found}


def test_each_profile_and_engine_has_a_newest_of_its_own() -> None:
    mine = series(range(10))
    theirs = [point("99", 3, 3, profile="prod"), point("98", 4, 3.1, engine="compose")]
    assert kept([*mine, *theirs], daily=1) == ["9", "98", "99"]


def test_whatever_happened_the_newest_verified_stays_and_twice_changes_nothing() -> None:
    chance = random.Random(5)  # noqa: S311 - chance for tests
    for _ in range(300):
        days: list[float] = []
        now = 0.0
        for _ in range(chance.randrange(1, 40)):
            now += chance.choice([0.1, 0.5, 1, 1, 1, 3, 20, -2])
            days.append(round(now + len(days) * 1e-4, 4))
        history = series(days, bad=[at for at in days if chance.random() < 0.3])
        policy = RetentionPolicy(*(chance.randrange(4) for _ in range(4)))
        found = retention.reasons_to_keep(history, policy)
        good = [item for item in history if item.good]
        assert good == [] or good[-1].id in found
        assert {item.id for item in history if not good} <= {*found}
        left = [item for item in history if item.id in found]
        again = retention.reasons_to_keep(left, policy)
        assert good == [] or good[-1].id in again
        _refuse_loss_after_gap(history, found, policy)


def _refuse_loss_after_gap(
    history: list[AnyPoint], found: dict[str, str], policy: RetentionPolicy
) -> None:
    """Check the rule of gaps in other words than it is written in."""
    last, before = 0, None
    for number, item in enumerate(history):
        if item.good:  # others neither make a gap nor end one
            away = item.created - before.created if before else timedelta()
            last, before = number if abs(away) > timedelta(hours=48) else last, item
    since = history[last:]
    days = {item.created.date() for item in since if item.good}
    if last and len(days) < (policy.daily or 7):
        assert all(item.id in found for item in since)
        proven = [item for item in history[:last] if item.good]
        assert proven[-1].id in found
