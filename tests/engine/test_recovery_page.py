"""The page recovery.md, followed to the letter after each of the three losses, on containers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.backup import restore_point
from slipway.models import registry
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from tests.engine.conftest import Stack

TYPED = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
TIER = "tier1"


def sections() -> list[list[str]]:
    """Return what is to be typed, section by section."""
    page = (REPOSITORY / "services" / "api" / "recovery.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^## ", page, flags=re.MULTILINE)
    return [TYPED.findall(part) for part in parts]


def rows(stack: Stack) -> str:
    (server,) = stack.containers("postgres")
    command = ["psql", "-qAt", "-U", "app", "-c", "SELECT count(*), max(date) FROM observations"]
    return str(server.exec_run(command).output.decode()).strip()


@pytest.mark.slow
def test_the_page_of_the_recovery_can_be_followed(stack: Stack, tmp_path: Path) -> None:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{stack.environment['PATH']}"
    own = {"HOME": str(tmp_path), "PATH": tools, "SLIPWAY_ENGINE": "compose"}

    def follow(typed: list[str]) -> None:
        for commands in typed:
            command = ["bash", "-euo", "pipefail", "-c", commands]
            done = subprocess.run(
                command,
                cwd=stack.root,
                env=stack.environment | own,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"

    before, drill, database, model, machine = sections()
    for point in restore_point.list_points(stack.root / "backups"):
        restore_point.remove_point(point)
    held = rows(stack)
    follow(before)
    follow(drill)

    (server,) = stack.containers("postgres")
    server.exec_run(["dropdb", "-U", "app", "--force", "app"])
    follow(database)
    assert rows(stack) == held

    lost = registry.find_model(stack.root / "models", TIER).file
    content = lost.read_bytes()
    lost.write_bytes(content[:1000])
    follow(model)
    assert lost.read_bytes() == content

    stack.inv("deploy.down", "--engine", "compose", "--volumes", "--yes")
    for name in ("models", "backups", "run"):
        shutil.rmtree(stack.root / name)
    for name in ("journal.jsonl", ".env.dev"):
        (stack.root / name).unlink()
    follow(machine)
    assert rows(stack) == held
    assert lost.read_bytes() == content
