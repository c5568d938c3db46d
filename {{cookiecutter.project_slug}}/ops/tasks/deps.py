"""deps.*: the lock files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from ops import output, project, shell
from ops.dependencies import LOCKS, compile_command

if TYPE_CHECKING:
    from invoke.context import Context


@task(help={"upgrade": "take the newest versions, not just what the .in files ask for"})
def lock(_c: Context, upgrade: bool = False) -> None:
    """Renew the lock files from requirements*.in, with hashes."""
    root = project.load().root
    for source, target in LOCKS.items():
        shell.run(compile_command(source, target, upgrade=upgrade), cwd=root, timeout=600)
        output.say(f"{source} -> {target}")
    output.say("Next: git diff --stat; pip install -r requirements.txt; nox -s ci")
