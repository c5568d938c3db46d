from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slipway.backup import metrics, restore_point
from slipway.core import journal
from slipway.core.transaction import change
from tests.support import restore_points

if TYPE_CHECKING:
    from pathlib import Path


def test_of_an_empty_repository_nothing_is_known(tmp_path: Path) -> None:
    said = metrics.collect_metrics(tmp_path)
    assert (said["newest_verified_at"], said["drill"]) == (None, None)
    assert said["objectives"] == {"recovery_point_seconds": 86400, "recovery_time_seconds": 3600}


def test_only_what_is_proven_and_of_the_data_in_use_counts(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    restore_points.write(folder, 1, restore_points.day(1))
    restore_points.write(folder, 2, restore_points.day(2), profile="prod", engine="compose")
    restore_points.write(folder, 3, restore_points.day(3), verified=False)
    assert (
        metrics.collect_metrics(tmp_path)["newest_verified_at"] == restore_points.day(2).isoformat()
    )
    journal.append(tmp_path, "deploy.up", outcome="done", profile="dev", engine="local")
    journal.append(tmp_path, "deploy.up", outcome="failed", profile="prod", engine="compose")
    assert (
        metrics.collect_metrics(tmp_path)["newest_verified_at"] == restore_points.day(1).isoformat()
    )


def test_the_last_drill_that_came_to_an_end_counts(tmp_path: Path) -> None:
    for outcome, seconds in (("done", 12.5), ("failed", 3.0), ("interrupted", 1.0)):
        journal.append(tmp_path, metrics.DRILL, outcome=outcome, seconds=seconds)
    drill = metrics.collect_metrics(tmp_path)["drill"]
    assert (drill["seconds"], drill["ok"]) == (3.0, False)
    assert drill["at"] == journal.entries(tmp_path)[0]["at"]


def test_every_change_renews_them(tmp_path: Path) -> None:
    path = tmp_path / "run" / "recovery" / "facts.json"
    with change(tmp_path, "backup.create"):
        made = restore_points.write(tmp_path / "backups")
    assert json.loads(path.read_text())["newest_verified_at"] == made.created.isoformat()
    with change(tmp_path, "backup.prune"):
        restore_point.remove_point(made)
    assert json.loads(path.read_text())["newest_verified_at"] is None
    with change(tmp_path, metrics.DRILL, seconds=2.0):
        pass
    assert json.loads(path.read_text())["drill"]["seconds"] == 2.0


def test_where_they_cannot_be_written_the_change_is_made_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recovery").touch()
    with change(tmp_path, "backup.create"):
        pass
    assert journal.entries(tmp_path)[-1]["outcome"] == "done"
