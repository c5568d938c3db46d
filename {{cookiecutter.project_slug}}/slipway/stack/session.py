"""A session: the project, a profile's variables and the engine that a task works with."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.config import schema, values
from slipway.core import project
from slipway.core.errors import Refused
from slipway.stack import engines, provenance

if TYPE_CHECKING:
    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine


@dataclass(frozen=True)
class Session:
    """The project, the chosen profile and the engine over that profile's variables."""

    project: Project
    profile: str
    engine: Engine

    @property
    def series(self) -> tuple[str, str]:
        """The profile and the engine, which name a series of restore points."""
        return (self.profile, self.engine.name)

    def module(self, name: str, *arguments: str) -> None:
        """Run a Python module of the application.

        Raises:
            Refused: it fails.
        """
        self.engine.run([sys.executable, "-m", name, *arguments])

    def describe_provenance(self) -> dict[str, Any]:
        """Describe what the data is used by, as it is now."""
        return provenance.current_provenance(self.project, self.profile, self.engine)


def open_session(
    profile: str = "", engine: str = "", *, gpu: bool | None = None, whole: bool = True
) -> Session:
    """Open a session; by default every variable must have a value.

    Raises:
        Refused: there is no such profile or engine, the stack is up with another, or a variable
            has no value.
    """
    here = project.load()
    name = profile_name(here, profile)
    if whole:
        _refuse_another(here, name, engine or os.environ.get("SLIPWAY_ENGINE", ""))
    where = engines.engine_name(engine, here)
    read = values.require_values if whole else values.read_values
    return Session(here, name, engines.choose_engine(where, here, read(here, name, where), gpu=gpu))


def profile_name(here: Project, asked: str) -> str:
    """Return the profile: asked for by option or APP_ENV, else the one in use."""
    given = asked or os.environ.get("APP_ENV", "")
    return values.profile_name(given or values.profile_in_use(here))


def _refuse_another(here: Project, profile: str, engine: str) -> None:
    """Refuse to change a stack with another profile or engine than it is up with."""
    up = {"profile": values.profile_in_use(here), "engine": values.engine_in_use(here)}
    for what, asked in {"profile": profile, "engine": engine}.items():
        known = {"profile": schema.PROFILES, "engine": schema.ENGINES}[what]
        if asked in known and up[what] and asked != up[what]:
            fix = f"--{what} {up[what]}, or first: inv deploy.down"
            raise Refused(f"the stack is up with the {what} {up[what]}, not {asked}", fix)
