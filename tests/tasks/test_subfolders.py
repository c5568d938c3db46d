"""`inv` works from any folder of the repository; what it writes goes where it belongs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from slipway.core import project
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch

READING = (
    ("env.show", "--json"),
    ("models.list", "--json"),
    ("backup.list", "--json"),
)


def inv(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=folder,
        env=os.environ | {"PWD": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"__pycache__"}


def test_tasks_work_from_any_folder(scratch: Scratch) -> None:
    below = scratch.root / "src" / "scratch"
    before, there = files(scratch.root), files(below)
    assert inv(below, "deploy.up")[0] == 0
    try:
        assert '"healthy"' in inv(below, "deploy.status", "--json")[1]
        for words in READING:
            from_here, from_root = inv(below, *words), inv(scratch.root, *words)
            assert from_here == from_root
            assert from_root[0] == 0, from_root[1]
    finally:
        assert inv(below, "deploy.down")[0] == 0
    assert files(scratch.root) - before == {".env.dev", ".env.d", "journal.jsonl"}
    assert files(below) == there


def test_outside_a_repository_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        project.find_root(tmp_path)
    assert caught.value.what == f"no project.toml in {tmp_path}, nor in a folder above it"
    assert caught.value.fix == "cd to the repository"
