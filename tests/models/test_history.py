from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from slipway.models import history

DAYS = [f"2026-11-{day:02d}T12:00:00+00:00" for day in range(1, 10)]


def entry(day: int, verb: str, **facts: object) -> dict[str, Any]:
    return {"at": DAYS[day], "by": "ann@host", "verb": verb, "outcome": "done", **facts}


def moved(day: int, verb: str, to: str, **facts: object) -> dict[str, Any]:
    return entry(day, f"models.{verb}", tier="tier1", to=to, **facts)


def test_periods_follow_from_what_was_recorded() -> None:
    entries = [
        entry(0, "deploy.up", models={"tier1": "v1.0", "tier2": "v1.0"}),
        entry(1, "models.train"),
        moved(2, "promote", "v1.1", why="retrained"),
        moved(3, "promote", "v1.2", outcome="failed"),
        entry(4, "deploy.up", models={"tier1": "v1.1", "tier2": "v1.0"}),
        moved(5, "rollback", "v1.0"),
    ]
    found = history.join_periods(entries, {"tier1": "v1.0", "tier2": "v1.0"})
    assert [(item.tier, item.version, item.since, item.until, item.how) for item in found] == [
        ("tier1", "v1.0", DAYS[0], DAYS[2], "deploy.up"),
        ("tier2", "v1.0", DAYS[0], None, "deploy.up"),
        ("tier1", "v1.1", DAYS[2], DAYS[5], "models.promote retrained"),
        ("tier1", "v1.0", DAYS[5], None, "models.rollback"),
    ]
    assert (
        history.previous_versions(found, "tier1") == []
    )  # nobody wants back what was rolled back from
    assert history.previous_versions(found, "tier2") == []
    assert history.previous_versions(found, "tier3") == []


def test_a_link_that_was_moved_by_hand_is_seen() -> None:
    (first, second) = history.join_periods([moved(2, "promote", "v1.1")], {"tier1": "v1.3"})
    assert (first.version, first.until) == ("v1.1", "")
    assert (second.version, second.since, second.until) == ("v1.3", "", None)
    assert history.previous_versions([first, second], "tier1") == ["v1.1"]
    (only,) = history.join_periods([], {"tier1": "v1.0"})
    assert (second.how, only.how) == (history.OTHERWISE, history.FIRST)


def test_what_was_live_before_the_first_promotion_can_be_gone_back_to() -> None:
    first = {"from": "v1.0"}
    found = history.join_periods([moved(2, "promote", "v1.1", **first)], {"tier1": "v1.1"})
    assert [(item.version, item.since, item.until) for item in found] == [
        ("v1.0", "", DAYS[2]),
        ("v1.1", DAYS[2], None),
    ]
    assert history.previous_versions(found, "tier1") == ["v1.0"]


def test_what_was_promoted_again_is_no_longer_what_was_rolled_back_from() -> None:
    verbs = ["promote", "promote", "rollback", "promote", "promote"]
    versions = ["v1.0", "v1.1", "v1.0", "v1.1", "v1.2"]
    moves = [moved(day, *one) for day, one in enumerate(zip(verbs, versions, strict=True))]
    assert history.previous_versions(history.join_periods(moves, {}), "tier1") == [
        "v1.1",
        "v1.0",
        "v1.1",
        "v1.0",
    ]
    assert history.previous_versions(history.join_periods(moves[:3], {}), "tier1") == []


def test_what_was_killed_after_the_link_moved_was_live() -> None:
    moves = [moved(0, "promote", "v1.0"), moved(1, "promote", "v1.1", outcome="killed")]
    assert len(history.join_periods([moves[0], {**moves[1], "step": "load"}], {})) == 1
    (first, second) = history.join_periods(
        [moves[0], {**moves[1], "step": "watch"}], {"tier1": "v1.1"}
    )
    assert (first.until, second.version, second.until) == (DAYS[1], "v1.1", None)


@pytest.mark.parametrize(("days", "live"), [(0, {"v1.1"}), (36500, {"v1.0", "v1.1"})])
def test_what_was_live_within_a_window(days: int, live: set[str]) -> None:
    found = history.join_periods([moved(1, "promote", "v1.0"), moved(2, "promote", "v1.1")], {})
    assert {version for _, version in history.live_since(found, timedelta(days=days))} == live


@pytest.mark.parametrize(
    ("late", "live"), [(timedelta(), {"v1.0", "v1.1"}), (timedelta.resolution, {"v1.1"})]
)
def test_what_ended_as_the_window_began_was_live(late: timedelta, live: set[str]) -> None:
    found = history.join_periods([moved(1, "promote", "v1.0"), moved(2, "promote", "v1.1")], {})
    now = datetime.fromisoformat(DAYS[5]) + late
    versions = {version for _, version in history.live_since(found, timedelta(days=3), now)}
    assert versions == live
