"""What holds of a restore on every engine: the tests of it, for a stack that is up.

Each begins with a restore point and a change that came after it: what is live can be told apart.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from slipway.backup import restore_point
from slipway.models import registry
from tests.support.promotions import AT_STEP, KILL

if TYPE_CHECKING:
    from tests.support.copies import Copy

INTERRUPT = "kill -INT $PPID; sleep 5"
TIER = "tier1"


class Stack:
    """A stack that is up, and how its database is asked."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.first = ""

    def sql(self, statement: str) -> list[str]:
        """Run a statement in the live database; return the first column of its rows."""
        raise NotImplementedError

    def databases(self) -> list[str]:
        """Return the names of the databases beside the live one."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        return int(self.sql("SELECT count(*) FROM observations")[0])

    @property
    def points(self) -> list[restore_point.RestorePoint]:
        return restore_point.list_points(self.copy.root / "backups")

    def create(self, *options: str) -> str:
        self.copy.inv("backup.create", *options)
        return self.points[-1].id

    def restore(self, *arguments: str, code: int = 0) -> str:
        return self.copy.inv("backup.restore", *arguments, "--yes", code=code)

    def restore_but(self, step: str, command: str, *arguments: str) -> tuple[int, str]:
        """Restore, and run a command right before a step; return the exit code and the output."""
        done = self.typed_but(step, command, "backup.restore", *arguments, "--yes")
        return done.returncode, done.stdout + done.stderr

    def typed_but(
        self, step: str, command: str, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """Type `inv`, and run a command right before a step."""
        return self._typed("-c", AT_STEP, step, command, *arguments)

    def doctor(self) -> str:
        """Return what the doctor says of the restore that was killed; nothing if none was."""
        found: list[dict[str, Any]] = json.loads(
            self._typed("-m", "invoke", "doctor", "--json").stdout
        )
        said = [item for item in found if item["check"].startswith("backup.restore")]
        return f"{said[0]['detail']}\n{said[0]['fix']}" if said else ""

    def _typed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this Python; how it ends is looked at by who asks."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.copy.root,
            env=self.copy.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def runs(self) -> bool:
        return all(item["state"] == "healthy" for item in self.copy.status().values())

    def type(self, said: str, word: str) -> None:
        """Type what the doctor says after a word such as finish or undo."""
        found = re.search(rf"{word}: inv (.*?)(?:   |$)", said, re.MULTILINE)
        assert found, said
        words = found[1].split()
        self.copy.inv(*words, *(["--yes", "--drop-old"] if words[0] == "backup.restore" else []))


class Recoveries:
    """The tests of a restore."""

    @pytest.fixture
    def point(self, stack: Stack) -> str:
        """Return a restore point that is made once."""
        stack.first = stack.first or stack.create()
        return stack.first

    @pytest.fixture
    def lost(self, stack: Stack, point: str) -> int:
        """Lose some rows after the restore point; return how many there are then."""
        held = next(item for item in stack.points if item.id == point)
        there = held.content.tables["observations"].rows
        wanted = there - 100
        if stack.rows != wanted:
            if stack.rows < wanted:
                stack.restore(point, "--only=database", "--drop-old")
            some = "SELECT date FROM observations ORDER BY date LIMIT"
            stack.sql(f"DELETE FROM observations WHERE date IN ({some} {stack.rows - wanted})")
        assert stack.rows == wanted
        return wanted

    def test_database_and_models_are_as_they_were(
        self, stack: Stack, point: str, lost: int
    ) -> None:
        folder = stack.copy.root / "models"
        model = registry.find_model(folder, TIER)
        content = model.file.read_bytes()
        model.file.write_bytes(content[: len(content) // 2])
        said = stack.restore(point)
        assert f"table observations     {lost} rows" in said
        assert f"copied back: {model.file.name}" in said
        assert (stack.rows, stack.runs()) == (lost + 100, True)
        assert model.file.read_bytes() == content
        (kept,) = stack.databases()
        assert f"The previous database is kept as {kept}." in said
        safety = stack.points[-1]
        assert (safety.kind, safety.content.tables["observations"].rows) == ("safety", lost)
        stack.restore(safety.id, "--only=database", "--drop-old")
        assert (stack.rows, stack.databases()) == (lost, [])

    def test_what_fails_in_the_end_leaves_what_was_there(
        self, stack: Stack, point: str, lost: int
    ) -> None:
        code, said = stack.restore_but("check", self.breaking(stack), point, "--only=database")
        assert code == 1
        assert "step 8 (check): FAILED  database" in said
        assert "The previous state is live again." in said
        assert (stack.rows, stack.databases(), stack.runs()) == (lost, [], True)

    def test_ctrl_c_after_the_swap_puts_it_back(self, stack: Stack, point: str, lost: int) -> None:
        code, said = stack.restore_but("start", INTERRUPT, point, "--only=database")
        assert (code, "Putting back: before_" in said) == (130, True)
        assert (stack.rows, stack.databases(), stack.runs()) == (lost, [], True)

    @pytest.mark.parametrize("step", ["files", "migration", "safety", "stage", "stop"])
    def test_killed_before_others_notice_nothing_has_changed(
        self, stack: Stack, point: str, lost: int, step: str
    ) -> None:
        code, _ = stack.restore_but(step, KILL, point)
        assert (code, stack.rows, stack.runs()) == (-signal.SIGKILL, lost, True)
        said = stack.doctor()
        assert f"({step})" in said
        assert f"finish: inv backup.restore {point}" in said
        assert stack.databases() == [] or step == "stop"

    @pytest.mark.parametrize(
        ("step", "word"),
        [("swap", "finish"), ("models", "finish"), ("start", "finish"), ("check", "undo")],
    )
    def test_killed_after_that_it_is_finished_or_undone_as_the_doctor_says(
        self, stack: Stack, point: str, lost: int, step: str, word: str
    ) -> None:
        only = [] if step == "models" else ["--only=database"]
        code, _ = stack.restore_but(step, KILL, point, *only)
        said = stack.doctor()
        assert code == -signal.SIGKILL
        assert (
            f"({step}): the restored database {'may be' if step == 'swap' else 'is'} live" in said
        )
        stack.type(said, word)
        assert stack.rows == (lost + 100 if word == "finish" else lost)
        assert (stack.runs(), stack.doctor()) == (True, "")

    def test_a_migration_that_the_code_does_not_know_is_refused(
        self, stack: Stack, lost: int
    ) -> None:
        (usual,) = stack.sql("SELECT version_num FROM alembic_version")
        stack.sql("UPDATE alembic_version SET version_num = '9999'")
        try:
            newer = stack.create("--no-verify")
        finally:
            stack.sql(f"UPDATE alembic_version SET version_num = '{usual}'")
        said = stack.restore(newer, code=1)
        assert "step 2 (migration): this code does not know migration 9999" in said
        assert (stack.rows, stack.runs()) == (lost, True)

    def test_a_damaged_restore_point_is_refused(self, stack: Stack, lost: int) -> None:
        bad = stack.create("--no-verify")
        found = next(item for item in stack.points if item.id == bad)
        largest = max(found.files, key=lambda name: found.files[name]["bytes"])
        content = bytearray((found.folder / largest).read_bytes())
        content[len(content) // 2] ^= 1
        (found.folder / largest).write_bytes(content)
        said = stack.restore(bad, code=1)
        assert f"step 1 (files): restore point {bad} is damaged" in said
        assert (stack.rows, stack.runs()) == (lost, True)

    def breaking(self, stack: Stack) -> str:
        """Return a command that makes the live database one that the application refuses."""
        raise NotImplementedError
