from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from ops.dependencies import LOCKS, compile_command
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def test_the_command_locks_for_every_platform_with_hashes() -> None:
    command = compile_command("a.in", "a.txt", upgrade=True)
    assert command[1:5] == ["-m", "uv", "pip", "compile"]
    assert {"--universal", "--generate-hashes", "--upgrade", "--no-emit-index-url"} <= {*command}
    assert command[-3:] == ["a.in", "-o", "a.txt"]
    assert "--upgrade" not in compile_command("a.in", "a.txt", upgrade=False)


@pytest.mark.parametrize("lock", LOCKS.values())
def test_every_locked_package_has_a_version_and_a_hash_and_no_address(lock: str) -> None:
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE))
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ ", entry), entry
        assert "--hash=sha256:" in entry


def test_the_locks_hold_what_the_in_files_ask_for(tmp_path: Path) -> None:
    for name in (*LOCKS, *LOCKS.values()):
        shutil.copy(REPOSITORY / name, tmp_path)
    for source, target in LOCKS.items():
        command = [*compile_command(source, target, upgrade=False), "--offline"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing is cached to resolve from: {done.stderr.strip()[:200]}")
        assert (tmp_path / target).read_text() == (REPOSITORY / target).read_text()
