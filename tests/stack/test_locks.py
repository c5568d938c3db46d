from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from slipway.stack.build.locks import WHOLE, compile_command, compile_commands, parts
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def test_the_command_locks_for_every_platform_with_hashes() -> None:
    command = compile_command("a.in", "a.txt", "--upgrade")
    assert command[1:5] == ["-m", "uv", "pip", "compile"]
    assert {"--universal", "--generate-hashes", "--upgrade", "--no-emit-index-url"} <= {*command}
    assert command[-3:] == ["a.in", "-o", "a.txt"]


def test_an_image_has_the_versions_that_run_everywhere(tmp_path: Path) -> None:
    lock = tmp_path / "services" / "web" / "requirements.in"
    lock.parent.mkdir(parents=True)
    lock.touch()
    commands = compile_commands(tmp_path, upgrade=True)
    assert [*commands] == [*WHOLE.values(), "services/web/requirements.txt"]
    constrained = {name: "--constraint" in command for name, command in commands.items()}
    upgraded = {name: "--upgrade" in command for name, command in commands.items()}
    assert [*constrained.values()] == [False, False, True]
    assert [*upgraded.values()] == [True, True, False]


LOCKS = WHOLE | parts(REPOSITORY)


def pins(lock: str) -> set[tuple[str, str]]:
    """Return names and versions, without extras."""
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    return {*re.findall(r"^([a-z0-9._-]+)\S*==(\S+)", text, flags=re.MULTILINE)}


ON_TOP = "services/pipeline/ray.txt"
"""What no image holds: it is installed on top of the rest by who asks for it."""


@pytest.mark.parametrize("lock", sorted({*parts(REPOSITORY).values()} - {ON_TOP}))
def test_what_an_image_holds_is_a_part_of_the_whole(lock: str) -> None:
    assert pins(lock) <= pins("requirements.txt")


@pytest.mark.parametrize("lock", LOCKS.values())
def test_every_locked_package_has_a_version_and_a_hash_and_no_address(lock: str) -> None:
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE))
    assert len(entries) > (2 if "scheduler" in lock or lock == ON_TOP else 20)
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ ", entry), entry
        assert "--hash=sha256:" in entry


def test_the_locks_hold_what_the_in_files_ask_for(tmp_path: Path) -> None:
    for name in (*LOCKS, *LOCKS.values()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for target, locking in compile_commands(tmp_path, upgrade=False).items():
        command = [*locking, "--offline"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing is cached to resolve from: {done.stderr.strip()[:200]}")
        assert locked(tmp_path / target) == locked(REPOSITORY / target)


def locked(lock: Path) -> str:
    """Read packages and hashes of a lock, not where each is needed and what for.

    A lock that services were taken out of needs some in fewer places than it says.
    """
    text = re.sub(r"^ *#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return re.sub(r" ; .*(?= \\$)", "", text, flags=re.MULTILINE)
