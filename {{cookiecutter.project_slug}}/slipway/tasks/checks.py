"""list and ci: what there is to type, and the checks of this repository."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from invoke.main import program
from invoke.tasks import task

from slipway.core import project, shell
from slipway.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context


@task(name="list", default=True)
def list_(_c: Context) -> None:
    """List the tasks, as `inv` alone does."""
    program.list_tasks()


@task(help={"part": "one session of noxfile.py, such as lint, types or tests (default: all)"})
def ci(c: Context, part: str = "ci") -> None:
    """Run the checks with nox; what follows -- goes to a part."""
    words = options.after_dashes(c.remainder, sys.argv)
    command = [sys.executable, "-m", "nox", "--session", part, *(["--", *words] if words else [])]
    shell.run(command, cwd=project.load().root)
