from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.stack.build.locks import WHOLE, compile_command, compile_commands

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
