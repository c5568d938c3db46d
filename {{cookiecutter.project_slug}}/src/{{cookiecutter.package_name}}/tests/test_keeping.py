import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from .. import keeping
from ..exposition import KeepingCollector

PROMISED = {"recovery_point_seconds": 86400.0, "recovery_time_seconds": 3600.0}
DRILL = {"at": "2026-11-22T03:00:00+00:00", "seconds": 12.5, "ok": True}


def ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def measured(folder: Path, facts: Mapping[str, Any] | bytes | None) -> dict[str, float]:
    """Return what is measured where the tasks left that."""
    if facts is not None:
        content = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
        (folder / keeping.FILE).write_bytes(content)
    registry = CollectorRegistry()
    registry.register(KeepingCollector(folder))
    lines = generate_latest(registry).decode().splitlines()
    found = (line.split() for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in found}


def test_what_is_known_is_measured(tmp_path: Path) -> None:
    facts = {"newest_verified_at": ago(3), "drill": DRILL, "objectives": PROMISED}
    found = measured(tmp_path, facts)
    newest = found.pop("backup_newest_verified_timestamp_seconds")
    assert time.time() - newest == pytest.approx(3 * 3600, abs=60)
    assert found == {
        "backup_recovery_point_objective_seconds": 86400,
        "backup_overdue": 0,
        "backup_drill_duration_seconds": 12.5,
        "backup_recovery_time_objective_seconds": 3600,
    }


@pytest.mark.parametrize(
    "facts",
    [
        None,
        b"",
        b'{"newest_verified_at": "2026-11-2',
        b"[]",
        {"newest_verified_at": "yesterday", "drill": None, "objectives": PROMISED},
        {"newest_verified_at": "2026-11-22T03:00:00", "drill": None, "objectives": PROMISED},
    ],
)
def test_a_file_that_is_missing_or_torn_means_overdue_and_no_more(
    tmp_path: Path, facts: Mapping[str, Any] | bytes | None
) -> None:
    assert measured(tmp_path, facts) == {"backup_overdue": 1}


@pytest.mark.parametrize(
    ("hours", "overdue"), [(23.9, 0), (24.1, 1), (None, 1), (-0.01, 0), (-2, 1)]
)
def test_overdue_is_what_is_older_than_promised_or_of_a_clock_set_back(
    tmp_path: Path, hours: float | None, overdue: float
) -> None:
    newest = None if hours is None else ago(hours)
    facts = {"newest_verified_at": newest, "drill": None, "objectives": PROMISED}
    assert measured(tmp_path, facts)["backup_overdue"] == overdue


def test_a_drill_that_failed_has_no_duration(tmp_path: Path) -> None:
    facts = {"newest_verified_at": None, "drill": {**DRILL, "ok": False}, "objectives": PROMISED}
    assert "backup_drill_duration_seconds" not in measured(tmp_path, facts)
