"""Where a stack runs: engines behind one interface."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from slipway.config import schema
from slipway.core import shell
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.config.service_env import Handout
    from slipway.core.project import Project

NAMES = schema.ENGINES
GPU = "gpu"
"""Noted beside the engine's name where the stack has GPUs."""


@dataclass(frozen=True)
class Status:
    """One service as it is now. Every engine answers with the same shape."""

    service: str
    state: str
    """healthy, unhealthy, starting, failed or stopped."""
    url: str | None
    replicas: int
    """How many run."""
    detail: str
    image: str | None = None
    """What it runs from; a process has none."""
    revision: str | None = None
    """The commit that the image says it was built from."""
    ports: tuple[str, ...] = ()
    """What of this machine leads to it, such as 8000->80/tcp."""
    uptime: int | None = None
    """Seconds since the newest replica started."""

    @property
    def line(self) -> dict[str, object]:
        """What a person reads of it: `detail` has the rest in words."""
        names = ("service", "state", "url", "replicas", "detail")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Replica:
    """One running copy of a service that serves models."""

    name: str
    """What a person knows it by."""
    host: str
    """The host name that its processes see."""


class Engine(Protocol):
    """What an engine can do with the stack of a project."""

    name: str

    @property
    def handouts(self) -> dict[str, Handout]:
        """What each service is to be handed."""

    def up(self, limit: float) -> bool:
        """Bring every service up and wait for its health, at most `limit` seconds each.

        Says whether anything had to be started.

        Raises:
            Refused: a service did not come up; what this call started is stopped again.
        """

    def down(self, *, volumes: bool = False) -> bool:
        """Stop every service, keeping its data unless told otherwise; say whether anything ran."""

    def status(self) -> list[Status]:
        """Look at every service."""

    def ports(self) -> dict[str, int]:
        """Return the port of this machine that each service has, or will have."""

    def scale(self, service: str, replicas: int, limit: float) -> None:
        """Run a service so many times, and wait for its health.

        Raises:
            Refused: this engine, or this service, cannot.
        """

    def run(self, command: Sequence[str], service: str = "") -> None:
        """Run a command of the application, with what a service gets where one is named.

        Raises:
            Refused: there is no such service, or the command fails.
        """

    def replicas(self) -> list[Replica]:
        """Return the running copies of the services that serve models."""

    def images(self) -> dict[str, str]:
        """Return what each service runs from: an image's digest, or its id where it has none."""

    def trial(self, command: Sequence[str], limit: float) -> Iterator[str]:
        """Run a command beside the service that serves models, with its libraries and limits.

        Yields the lines that it prints as they come.

        Raises:
            Refused: it fails, or takes longer than `limit` seconds (code 124).
        """

    def halt(self, needed: str) -> Callable[[float], None]:
        """Stop what needs a service, however indirectly; return what starts that again.

        That takes the seconds that each may take to become healthy.
        """

    def restart(self, service: str, limit: float) -> None:
        """Start each running copy of a service anew, one after the other; await each one's health.

        Raises:
            Refused: one is not healthy within `limit` seconds.
        """

    def reads_once(self, service: str) -> bool:
        """Say whether a service reads what it is handed only when it starts."""

    def logs(self, service: str, lines: int, *, follow: bool) -> None:
        """Print the end of the logs of one service, or of all."""


def choose(
    name: str, project: Project, values: Mapping[str, str], *, gpu: bool | None = None
) -> Engine:
    """Return the engine that `named` names, over a profile's variables.

    Whether GPUs are reserved is what was asked for, or else as the stack was brought up.

    Raises:
        Refused: there is no engine of that name.
    """
    name = named(name, project)
    # An engine brings heavy libraries: only the chosen one is imported.
    if name == "compose":
        from slipway.stack.engines.compose import ComposeEngine  # noqa: PLC0415

        return ComposeEngine(project, values, gpu=GPU in _noted(project) if gpu is None else gpu)
    from slipway.stack.engines.local import LocalEngine  # noqa: PLC0415

    return LocalEngine(project, values)


def refuse_unknown(service: str, names: Iterable[str]) -> None:
    """Refuse what is no service of a stack.

    Raises:
        Refused: it is none of these names.
    """
    known = [*names]
    if service not in known:
        fix = f"choose one of: {', '.join(known)}"
        raise Refused(f"there is no service {service!r} here", fix, code=2)


def named(asked: str, project: Project) -> str:
    """Name the engine that was asked for, by option or by SLIPWAY_ENGINE, or else is in use.

    Where nothing is in use it is containers if they can run here, else processes.

    Raises:
        Refused: there is no engine of that name.
    """
    name = asked or os.environ.get("SLIPWAY_ENGINE", "")
    if name not in ("", *NAMES):
        raise Refused(f"there is no engine {name!r}", f"choose one of: {', '.join(NAMES)}", code=2)
    return name or in_use(project) or ("compose" if containers_can_run(project) else "local")


def in_use(project: Project) -> str:
    """Return the engine that the stack was last brought up on; empty when it was taken down."""
    return next((word for word in _noted(project) if word in NAMES), "")


def profile_in_use(project: Project) -> str:
    """Return the profile that the stack was last brought up with; empty when it was taken down."""
    return next((word for word in _noted(project) if word in schema.PROFILES), "")


def note_use(project: Project, name: str, profile: str, *, gpu: bool = False) -> None:
    """Remember how the stack was brought up, so that the next task asks the same engine."""
    _note(project).parent.mkdir(exist_ok=True)
    words = [name, profile, *([GPU] if gpu else [])]
    _note(project).write_text(" ".join(words), encoding="utf-8")


def note_end(project: Project) -> None:
    """Forget it again."""
    _note(project).unlink(missing_ok=True)


def _noted(project: Project) -> list[str]:
    path = _note(project)
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def _note(project: Project) -> Path:
    return project.run / "engine"


def containers_can_run(project: Project) -> bool:
    """Say whether a container engine with compose answers here."""
    if not shutil.which("docker"):
        return False
    try:
        for question in (["docker", "info"], ["docker", "compose", "version"]):
            shell.read(question, cwd=project.root, timeout=10)
    except Refused:
        return False
    return True
