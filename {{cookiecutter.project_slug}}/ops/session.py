"""What a task works with: the project, a profile's variables and the engine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops import engines, environment, project

if TYPE_CHECKING:
    from ops.engines import Engine
    from ops.project import Project


@dataclass(frozen=True)
class Session:
    """The project, the chosen profile and the engine over that profile's variables."""

    project: Project
    profile: str
    engine: Engine

    def module(self, name: str, *arguments: str) -> None:
        """Run a Python module of the application.

        Raises:
            Refused: it fails.
        """
        self.engine.run([sys.executable, "-m", name, *arguments])


def opened(
    profile: str = "", engine: str = "", *, gpu: bool | None = None, whole: bool = True
) -> Session:
    """Open a session; by default every variable must have a value.

    Raises:
        Refused: there is no such profile or engine, or a variable has no value.
    """
    here = project.load()
    name = environment.profile_name(profile)
    values = environment.require(here, name) if whole else environment.held(here, name)
    return Session(here, name, engines.choose(engine, here, values, gpu=gpu))
