"""Commands of the application, run in its own process with the variables of a profile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ops import environment, shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.project import Project


def module(name: str, *arguments: str) -> list[str]:
    """Build the command that runs a Python module in this environment."""
    return [sys.executable, "-m", name, *arguments]


def run(project: Project, profile: str, command: Sequence[str]) -> None:
    """Run a command as a service of the stack would be run.

    Raises:
        Refused: a variable has no value, or the command fails.
    """
    values = environment.require(project, profile)
    shell.run(command, cwd=project.root, env={**values, "PYTHONPATH": str(project.source)})
