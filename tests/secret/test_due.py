from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from slipway.core import journal
from slipway.secret import due
from tests.support.scratch import SCHEMA

if TYPE_CHECKING:
    from slipway.secret.due import DueSecret
    from tests.support.scratch import Scratch

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROTATED = """
[{name}]
about = "A secret."
given = true
optional = true
rotation = {{every = "{every}", how = "Anew."}}
"""
EVERY = {"A_KEY": "90 days", "B_KEY": "6 months", "C_KEY": "1 year", "D_KEY": "2 weeks"}


@pytest.fixture
def rotated(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    """Return a project with secrets that have a period, and values for them."""
    more = "".join(ROTATED.format(name=name, every=every) for name, every in EVERY.items())
    more += ROTATED.format(name="UNSET", every="1 day")
    scratch.write("env/schema.toml", SCHEMA.format(port=1) + more)
    scratch.write(".env.dev", "".join(f"{name}=given-by-others\n" for name in EVERY))
    for name in (*EVERY, "UNSET"):
        monkeypatch.delenv(name, raising=False)
    return scratch


def note(scratch: Scratch, verb: str, at: datetime, **facts: object) -> None:
    journal.append(scratch.root, verb, **{"profile": "dev", "at": at.isoformat(), **facts})


def known(scratch: Scratch, days: int = 14) -> dict[str, DueSecret]:
    return {item.name: item for item in due.due_secrets(scratch.project, "dev", days, NOW)}


def test_what_is_most_urgent_comes_first(rotated: Scratch) -> None:
    note(rotated, "env.init", NOW - timedelta(days=85), names=["A_KEY", "C_KEY", "API_KEY"])
    note(rotated, "env.rotate", NOW - timedelta(days=15), name="D_KEY", outcome="done")
    found = known(rotated)
    assert [(item.name, item.state) for item in found.values()] == [
        ("B_KEY", "unknown"),
        ("D_KEY", "overdue"),
        ("A_KEY", "due soon"),
        ("C_KEY", "ok"),
    ]
    assert (found["A_KEY"].last, found["A_KEY"].due) == ("2026-08-29", "2026-11-27")
    assert (found["C_KEY"].due, found["C_KEY"].next) == ("2027-08-29", "")
    assert (found["B_KEY"].last, found["B_KEY"].due) == ("", "")
    assert found["B_KEY"].next == "inv env.rotate B_KEY --profile dev"
    assert known(rotated, 3)["A_KEY"].state == "ok"


def test_the_last_time_counts_that_it_was_done_in_this_profile(rotated: Scratch) -> None:
    note(rotated, "env.rotate", NOW - timedelta(days=100), name="A_KEY", outcome="done")
    for facts in ({"outcome": "failed"}, {"outcome": "undone"}, {"profile": "prod"}):
        note(rotated, "env.rotate", NOW, **{"name": "A_KEY", "outcome": "done", **facts})
    note(rotated, "env.rotate", NOW, name="B_KEY", outcome="done")
    note(rotated, "env.init", NOW, names=["A_KEY"], outcome="failed")
    assert (known(rotated)["A_KEY"].state, known(rotated)["B_KEY"].state) == ("overdue", "ok")
    note(rotated, "env.init", NOW, names=["A_KEY"], outcome="done")
    assert known(rotated)["A_KEY"].state == "ok"


def test_a_clock_that_was_set_back_makes_nothing_last_longer(rotated: Scratch) -> None:
    note(rotated, "env.rotate", NOW + timedelta(days=400), name="A_KEY", outcome="done")
    found = known(rotated)["A_KEY"]
    assert (found.last, found.due, found.state) == ("2026-11-22", "2027-02-20", "ok")


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(days=90), "overdue"),
        (timedelta(days=90) - timedelta.resolution, "due soon"),
        (timedelta(days=76), "due soon"),
        (timedelta(days=76) - timedelta.resolution, "ok"),
    ],
)
def test_a_secret_is_overdue_and_due_soon_from_the_moment_on(
    rotated: Scratch, age: timedelta, state: str
) -> None:
    note(rotated, "env.rotate", NOW - age, name="A_KEY", outcome="done")
    assert known(rotated)["A_KEY"].state == state


@pytest.mark.parametrize(
    ("start", "every", "end"),
    [
        ("2026-11-22", "1 day", "2026-11-23"),
        ("2026-11-22", "2 weeks", "2026-12-06"),
        ("2026-11-22", "3 months", "2027-02-22"),
        ("2026-01-31", "1 month", "2026-02-28"),
        ("2024-02-29", "1 year", "2025-02-28"),
        ("2024-02-29", "4 years", "2028-02-29"),
        ("2026-12-31", "12 months", "2027-12-31"),
        ("2026-11-30", "1 month", "2026-12-30"),
        ("2026-11-22", "9999 years", "9999-12-31"),
        ("2026-11-22", "9999 months", "2860-02-22"),
    ],
)
def test_periods_are_those_of_the_calendar(start: str, every: str, end: str) -> None:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert f"{due.period_end(begin, every):%Y-%m-%d}" == end


def test_it_exits_with_1_where_something_is_due(rotated: Scratch) -> None:
    now = datetime.now(UTC)
    note(rotated, "env.init", now - timedelta(days=80), names=[*EVERY])
    note(rotated, "env.rotate", now, name="D_KEY", outcome="done")
    for within, code in (("5", 0), ("13", 1)):
        done = rotated.inv("env.due", "--fail", f"--within={within}", "--json")
        assert (done.returncode, done.stderr) == (code, "")
    found = {item["name"]: item["state"] for item in json.loads(done.stdout)}
    assert found == {"A_KEY": "due soon", "D_KEY": "ok", "B_KEY": "ok", "C_KEY": "ok"}
    shown = rotated.inv("env.due", "--within=13")
    assert shown.returncode == 0
    assert "inv env.rotate A_KEY --profile dev" in shown.stdout
    assert "given-by-others" not in shown.stdout
    assert "2 to rotate" in rotated.inv("env.due", "--fail").stderr
    assert rotated.inv("env.due", "--within=soon").returncode == 2
