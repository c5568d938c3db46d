"""deps.*: the lock files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.core import output, project, shell
from slipway.stack.build.locks import compile_commands

if TYPE_CHECKING:
    from invoke.context import Context


@task(help={"upgrade": "take the newest versions the .in files allow"})
def lock(_c: Context, upgrade: bool = False) -> None:
    """Update every lock file from its .in file, with hashes."""
    root = project.load().root
    for target, command in compile_commands(root, upgrade=upgrade).items():
        shell.run(command, cwd=root, timeout=600)
        output.say(f"{command[-3]} -> {target}")
    output.say("Next: git diff --stat; pip install -r requirements.txt; nox -s ci")
