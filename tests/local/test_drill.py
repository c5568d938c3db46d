"""Drills beside a stack of processes, whose database is a file."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sqlite3
import sys
import urllib.error
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from slipway.backup import restore_point
from slipway.stack import processes
from slipway.stack.engines.supervisor import SupervisorFiles
from tests.local.test_restore import BREAK
from tests.support import drills
from tests.support.copies import Copy
from tests.support.promotions import KILL, need_own_disk, own_disk
from tests.support.restores import INTERRUPT

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN = f'{shlex.join([sys.executable, "-c", BREAK])} "$(echo run/drill/*/data/app.db)"'


class Local(drills.Stack):
    """A stack whose database is data/app.db."""

    def sql(self, statement: str) -> list[str]:
        path = self.copy.root / "data" / "app.db"
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            return [str(row[0]) for row in connection.execute(statement)]

    def left(self, name: str) -> list[str]:
        """Return what is there of a scratch stack: its folder, its processes, its socket."""
        folder = self.copy.root / "run" / "drill" / name
        socket = SupervisorFiles(folder, folder / "run" / "local").socket
        places = [str(path) for path in (folder, socket) if path.exists()]
        return [*places, *map(processes.describe_process, processes.marked_processes(folder))]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    copy = Copy(
        tmp_path_factory.mktemp("drills") / "repository", models=True, SLIPWAY_ENGINE="local"
    )
    made = Local(copy)
    try:
        copy.inv("deploy.up")
        made.first = made.create()
        yield made
    finally:
        copy.inv("deploy.down")


def test_a_killed_one_is_removed_by_the_next_which_touches_nothing_live(stack: Local) -> None:
    before, rows = stack.untouched(), stack.rows
    code, killed = stack.drill_but("check", KILL, "latest")
    (folder,) = stack.folders
    assert (code, bool(processes.marked_processes(folder))) == (-signal.SIGKILL, True)
    assert any(f"{folder.name} is still there" in line for line in doctor(stack))
    said = stack.drill("latest")
    assert f"Removing the remains of an earlier drill: {folder.name}" in said
    assert [*stack.left(drills.name_in(killed)), *stack.left(drills.name_in(said))] == []
    assert (stack.untouched(), stack.rows) == (before, rows)
    assert "prediction" in stack.copy.get("/predict", {})

    entry = stack.entry
    assert (entry["outcome"], entry["point"], entry["engine"]) == ("done", stack.first, "local")
    assert entry["steps"].keys() >= {"copy", "files", "stage", "swap", "models", "start", "check"}
    steps = entry["steps"].values()
    rounding = 0.05 * (len(steps) + 1)
    assert entry["seconds"] + rounding > sum(steps) > entry["steps"]["start"] > 0
    told = f"took {entry['seconds']:.0f} s; the objective is 1 h"
    assert f"Drill of {stack.first} {told}." in said
    assert f"{told}." in stack.copy.inv("backup.list").splitlines()[-1]
    assert told in next(line for line in doctor(stack) if line.startswith("drill     ok"))


def doctor(stack: Local) -> list[str]:
    return stack.copy.inv("doctor").splitlines()


def test_ctrl_c_leaves_nothing(stack: Local) -> None:
    before = stack.untouched()
    code, said = stack.drill_but("check", INTERRUPT, "latest")
    assert (code, stack.left(drills.name_in(said))) == (130, [])
    assert (stack.entry["outcome"], stack.untouched()) == ("interrupted", before)


def test_a_damaged_point_fails_in_words(stack: Local) -> None:
    bad = restore_point.find_point(stack.copy.root / "backups", stack.create("--no-verify"))
    (dump,) = bad.database.iterdir()
    dump.write_bytes(dump.read_bytes()[:-1])
    said = stack.drill(bad.id, code=1)
    assert f"step 2 (files): restore point {bad.id} is damaged: database/" in said
    assert "The live stack is unchanged." in said
    assert "-> use another one: inv backup.list" in said
    assert stack.left(drills.name_in(said)) == []
    assert (stack.entry["outcome"], stack.entry["point"]) == ("failed", bad.id)
    restore_point.remove_point(bad)


def test_no_room_on_the_disk_is_said_before_anything_is_made(stack: Local) -> None:
    place = stack.copy.root / "run" / "drill"
    place.rmdir()
    with own_disk(place):
        need_own_disk(place)
        said = stack.drill("latest", code=1)
        assert stack.folders == []
    assert f"not enough room for a drill: 67.1 MB of the disk of {place} free" in said


def is_well(address: str) -> bool:
    """Say whether an API answers there, and that all is well."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=10) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except (urllib.error.HTTPError, ValueError, KeyError):
        return False


def test_without_a_live_stack_a_failed_one_can_be_kept_and_looked_at(stack: Local) -> None:
    stack.copy.inv("deploy.down")
    code, said = stack.drill_but("check", BROKEN, stack.first, "--keep")
    assert code == 1
    assert "step 10 (check): FAILED  database" in said
    assert f"==> {stack.folders[0]}/run/local/api.log <==" in said
    assert "The live stack is unchanged." in said
    assert stack.entry["error"].startswith("step 10 (check): FAILED  database")
    assert any("failed: step 10 (check)" in line for line in doctor(stack))
    (line,) = re.findall(r"It is still up, in .*: (http://.*)", said)
    addresses = re.findall(r"http://[\d.:]+", line)
    assert any(is_well(address) for address in addresses), line
    drills.end_as_told(stack, said)
    assert stack.left(drills.name_in(said)) == []
