"""When a night is due: nothing here waits."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from itertools import pairwise

import pytest

from slipway.backup.schedule import timetable
from slipway.backup.schedule.timetable import PAUSE, RETRIES, Timetable
from slipway.core.errors import Refused

TWO = timetable.parse_time("02:00")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    """Return a time of November 2026, such as 22 01:59."""
    return datetime.fromisoformat(f"2026-11-{text.replace(' ', 'T')}:00+00:00")


@pytest.mark.parametrize("text", ["", "2", "24:00", "02:60", "2 am", "02:00:00", "-1:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="must be a time of day in UTC"):
        timetable.parse_time(text)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("22 02:00", "22 02:00"),
        ("22 01:59", "21 02:00"),
        ("22 23:59", "22 02:00"),
        ("01 00:00", None),
    ],
)
def test_the_last_and_the_following_time_of_day(now: str, last: str | None) -> None:
    expected = at(last) if last else datetime(2026, 10, 31, 2, tzinfo=UTC)
    assert timetable.last_due(at(now), TWO) == expected
    assert timetable.next_due(at(now), TWO) == expected + DAY


def test_another_time_zone_is_the_same_time() -> None:
    here = at("22 01:30").astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert timetable.last_due(here, TWO) == at("21 02:00")
    assert timetable.next_due(here, TWO) == at("22 02:00")
    assert timetable.parse_time("23:59") == time(23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("handled", "now", "due"),
    [
        ("21 12:00", "22 01:59", False),
        ("21 12:00", "22 02:00", True),
        ("21 12:00", "22 09:00", True),  # it was off at night
        ("01 12:00", "22 09:00", True),  # and for three weeks
        ("22 02:00", "22 02:00", False),
        ("22 02:01", "22 23:59", False),
        ("22 02:01", "23 02:00", True),
        ("22 02:30", "22 02:10", False),  # set back a little
    ],
)
def test_it_is_due_once_for_all_that_was_missed(handled: str, now: str, due: bool) -> None:
    table = Timetable(TWO, at(handled)).after_clock_change(at(now))
    assert table.due(at(now)) == due
    if due:
        assert not table.after_success(at(now)).due(at(now))
        assert not table.after_success(at(now)).due(
            timetable.next_due(at(now), TWO) - timedelta(seconds=1)
        )
        assert table.after_success(at(now)).due(timetable.next_due(at(now), TWO))


def looked(table: Timetable, clock: list[datetime]) -> list[datetime]:
    """Return when the work is done, by a clock that shows those times one after the other."""
    found = []
    for now in clock:
        table = table.after_clock_change(now)
        if table.due(now):
            found.append(now)
            table = table.after_success(now)
    return found


def minutes(start: datetime, count: int) -> list[datetime]:
    return [start + timedelta(minutes=number) for number in range(count)]


def test_over_weeks_it_is_every_day_at_that_time() -> None:
    done = looked(Timetable(TWO, at("01 12:00")), minutes(at("01 12:00"), 20 * 24 * 60))
    assert done == [at(f"{day:02} 02:00") for day in range(2, 22)]


@pytest.mark.parametrize("back", [HOUR / 2, 5 * HOUR, 23 * HOUR, 40 * DAY])
def test_a_clock_set_back_costs_no_more_than_a_day(back: timedelta) -> None:
    before = minutes(at("10 12:00"), 24 * 60)
    after = minutes(before[-1] - back, 3 * 24 * 60)
    done = looked(Timetable(TWO, before[0]), before + after)
    assert done[0] == at("11 02:00")
    assert done[1] - after[0] <= DAY
    assert len(done) <= 1 + 3 + (back < DAY)
    later = [one for one in done[1:] if one > after[0]]
    assert all(two - one <= DAY + HOUR for one, two in pairwise(later))


@pytest.mark.parametrize("forward", [HOUR, 30 * HOUR, 400 * DAY])
def test_a_clock_set_forward_or_a_machine_that_slept_is_one_night(forward: timedelta) -> None:
    before = minutes(at("10 12:00"), 60)
    after = minutes(before[-1] + forward, 60)
    done = looked(Timetable(TWO, before[0]), before + after)
    assert len(done) == (timetable.last_due(after[-1], TWO) > before[0])


def test_what_failed_is_tried_again_a_few_times_and_then_the_next_night() -> None:
    now, table, tries = at("22 02:00"), Timetable(TWO, at("21 02:00")), []
    while now < at("23 01:00"):
        if table.due(now):
            tries.append(now)
            table = table.after_failure(now)
        now += timedelta(minutes=1)
    assert tries == [at("22 02:00") + number * PAUSE for number in range(RETRIES + 1)]
    assert table == Timetable(TWO, tries[-1])
    assert table.due(at("23 02:00"))


def test_a_clock_set_back_does_not_put_off_the_next_try() -> None:
    table = Timetable(TWO, at("20 02:00")).after_failure(at("22 02:00"))
    assert not table.due(at("22 02:05"))
    assert table.due(at("22 01:30"))
