"""The scheduler in its container: what it makes there is the same as what is made from outside."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from slipway.backup import restore_point
from slipway.core import journal
from slipway.core.transaction import change
from slipway.stack.engines.permissions import application_user
from tests.support.queues import metrics

if TYPE_CHECKING:
    from docker.models.containers import Container

    from tests.engine.conftest import Stack

NIGHT = """
from slipway.backup.schedule import service
from slipway.core import project
print(service.nightly_in_container(project.load(), "dev")().id)
"""
HOLD = """
import time
from pathlib import Path
from slipway.core.transaction import change
with change(Path("/app"), "backup.create"):
    Path("/app/run/held").touch()
    while Path("/app/run/held").exists():
        time.sleep(0.05)
"""


@pytest.fixture
def scheduler(stack: Stack) -> Container:
    (container,) = stack.containers("scheduler")
    return container


def python(container: Container, script: str) -> tuple[int, str]:
    code, said = container.exec_run(["python3", "-c", script])
    return code, said.decode()


def test_a_night_in_the_container_is_one_of_this_machine_too(
    stack: Stack, scheduler: Container
) -> None:
    (by_hand,) = restore_point.ID.findall(stack.inv("backup.create").splitlines()[-1])
    code, said = python(scheduler, NIGHT)
    assert code == 0, said
    point = restore_point.find_point(stack.root / "backups", said.splitlines()[-1])
    assert (point.kind, point.series) == ("scheduled", ("dev", "compose"))
    assert point.verified
    assert point.content.tables["observations"].rows > 0
    assert set(point.models) == {"tier1", "tier2"}
    assert point.manifest["revision"].startswith(stack.commit_id)
    assert set(point.manifest["images"]) >= {"api", "postgres", "scheduler"}
    assert "API_KEY" in point.manifest["env"]["names"]
    assert {path.stat().st_uid for path in (stack.root / "backups").rglob("*")} == {
        application_user()
    }
    *_, entry = journal.entries(stack.root)
    assert (entry["outcome"], entry["point"]) == ("done", point.id)
    assert entry["by"].partition("@")[0] == "scheduler"
    listed = [item["id"] for item in json.loads(stack.inv("backup.list", "--json"))]
    assert listed[:2] == [point.id, by_hand]
    assert "1 verified." in stack.inv("backup.verify", point.id)
    shown = stack.inv("backup.schedule")
    assert f"done, {point.id}" in shown
    assert "scheduler  healthy: " in shown
    # Its database was put back just now, by verify; whole restores are test_recovery.py's.
    said = stack.inv("backup.restore", point.id, "--only", "models", "--yes")
    assert f"Restored {point.id}" in said


def test_it_knows_no_more_than_it_needs(stack: Stack, scheduler: Container) -> None:
    env = dict(item.split("=", 1) for item in scheduler.attrs["Config"]["Env"])
    values = dotenv_values(stack.root / ".env.dev", interpolate=False)
    assert not [name for name, value in values.items() if value and value in env.values()]
    mounts = {item["Destination"]: item["RW"] for item in scheduler.attrs["Mounts"]}
    assert mounts == {
        "/app/backups": True,
        "/app/journal.jsonl": True,
        "/app/models": False,
        "/app/run": True,
        "/run/secrets/scheduler": False,
    }
    script = "import slipway.backup.schedule.service, sys; print(*sys.modules, sep='\\n')"
    code, said = python(scheduler, script)
    assert code == 0
    assert {"docker", "psutil", "rich"}.isdisjoint(said.splitlines())


def test_the_lock_of_changes_holds_on_both_sides(stack: Stack, scheduler: Container) -> None:
    with change(stack.root, "models.promote"):
        code, said = python(scheduler, NIGHT)
    assert code != 0
    assert "models.promote of" in said
    assert "no backup.create at the same time" in said
    held = stack.root / "run" / "held"
    holder = threading.Thread(target=python, args=(scheduler, HOLD))
    holder.start()
    try:
        while not held.exists():
            assert holder.is_alive()
        refused = stack.inv("backup.create", code=1)
    finally:
        held.unlink(missing_ok=True)
        holder.join(30)
    assert "backup.create of scheduler@" in refused
    assert "Restore point" in stack.inv("backup.create")


def test_how_the_data_is_kept_is_measured(stack: Stack) -> None:
    said = metrics(stack)
    assert "backup_overdue 0.0" in said
    assert "backup_newest_verified_timestamp_seconds " in said
