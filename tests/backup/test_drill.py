from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from slipway.backup import drill, metrics
from slipway.backup.drill import DrillResult
from slipway.core import journal
from slipway.core.errors import Refused
from tests.support import restore_points

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch

SERIES = ("dev", "local")
FACTS: dict[str, Any] = {"point": "p1", "profile": "dev", "engine": "local", "seconds": 74.2}


def drilled(root: Path, outcome: str = "done", **facts: object) -> None:
    journal.append(root, drill.VERB, outcome=outcome, **{**FACTS, **facts})


def test_the_last_one_that_ended_by_itself_counts(tmp_path: Path) -> None:
    assert drill.last_drill(tmp_path) is None
    drilled(tmp_path, point="p0")
    drilled(tmp_path, "failed", error="step 10 (check): no", seconds=3.0)
    drilled(tmp_path, "interrupted")
    drilled(tmp_path, "killed")
    drilled(tmp_path, profile="prod")
    journal.append(tmp_path, "backup.create", outcome="done")
    found = drill.last_drill(tmp_path, SERIES)
    assert found
    assert (found.point, found.ok, found.seconds) == ("p1", False, 3.0)
    assert found.error == "step 10 (check): no"
    assert found.age < timedelta(minutes=1)
    newest = drill.last_drill(tmp_path)
    assert newest
    assert newest.ok


@pytest.mark.parametrize(("seconds", "slow"), [(74.2, False), (3600, False), (3600.1, True)])
def test_an_hour_is_the_objective(seconds: float, slow: bool) -> None:
    assert DrillResult(datetime.now(UTC), "p1", ok=True, seconds=seconds).slow is slow


@pytest.mark.parametrize(
    ("seconds", "said"), [(74.2, "took 74 s"), (599, "took 599 s"), (4500, "took 75 min")]
)
def test_the_time_is_said_beside_the_objective(seconds: float, said: str) -> None:
    assert drill.describe_duration(seconds) == f"{said}; the objective is 1 h"


@pytest.mark.parametrize(
    ("objective", "written"),
    [
        (metrics.RECOVERY_POINT, "24 h"),
        (metrics.RECOVERY_TIME, "1 h"),
        (metrics.DRILL_INTERVAL, "90 days"),
    ],
)
def test_objectives_are_written_as_people_say_them(objective: timedelta, written: str) -> None:
    assert metrics.format_objective(objective) == written


def test_the_list_ends_with_how_far_it_is_from_the_objectives(scratch: Scratch) -> None:
    assert "OBJECTIVE" not in scratch.inv("backup.list").stdout.upper()
    made = restore_points.write(scratch.project.backups, 1, datetime.now(UTC) - timedelta(hours=25))
    restore_points.write(scratch.project.backups, 2, engine="compose", verified=False)
    *_, compose, local = scratch.inv("backup.list").stdout.splitlines()
    assert compose == (
        "dev/compose: newest verified: none; the objective is 24 h."
        " No drill yet: inv backup.drill latest."
    )
    assert local.startswith("dev/local: newest verified: 25 h old; the objective is 24 h. No")
    drilled(scratch.root, point=made.id)
    (*_, local) = scratch.inv("backup.list").stdout.splitlines()
    assert local.endswith(" ago, took 74 s; the objective is 1 h.")
    drilled(scratch.root, "failed", error="step 1 (copy): no")
    (*_, local) = scratch.inv("backup.list").stdout.splitlines()
    assert local.endswith(" ago, failed.")


def test_what_this_machine_has_too_little_of_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not drill.scarce_resources(tmp_path / "drill", 1)
    monkeypatch.setattr(drill, "MEMORY", 2**50)
    with pytest.raises(Refused, match=r"of memory free, at least .* needed"):
        drill.refuse_scarce_resources(tmp_path, 1)
    with pytest.raises(Refused, match="of the disk of"):
        drill.refuse_scarce_resources(tmp_path, 2**60)


def test_another_engine_than_the_point_s_is_refused(tmp_path: Path) -> None:
    point = restore_points.write(tmp_path)
    drill.refuse_other_engine(point, "")
    drill.refuse_other_engine(point, "local")
    with pytest.raises(Refused, match="is of engine local"):
        drill.refuse_other_engine(point, "compose")


def test_what_is_wrong_with_the_words_is_said_before_anything_is_done(scratch: Scratch) -> None:
    for arguments, code, said in (
        (["latest"], 2, "no verified restore point of profile dev on engine local"),
        (["20260101-000000-0000"], 2, "there is no restore point '20260101-000000-0000'"),
        (["latest", "--timeout", "soon"], 2, "'soon' is not a number of seconds"),
        (["latest", "--profile", "test"], 2, "there is no profile 'test'"),
    ):
        done = scratch.inv("backup.drill", *arguments)
        assert (done.returncode, said in done.stderr) == (code, True), done
    assert not journal.entries(scratch.root)
