"""Where a stack runs: engines behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ops.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.project import Project

NAMES = ("local",)


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


class Engine(Protocol):
    """What an engine can do with the stack of a project."""

    name: str

    def up(self, limit: float) -> bool:
        """Bring every service up and wait for its health, at most `limit` seconds each.

        Says whether anything had to be started.

        Raises:
            Refused: a service did not come up; what this call started is stopped again.
        """

    def down(self) -> bool:
        """Stop every service, keeping its data; say whether anything ran."""

    def status(self) -> list[Status]:
        """Look at every service."""

    def reload(self) -> dict[str, str]:
        """Let every running service that serves models load the current ones.

        Returns, for each, an empty string if it did, else what is wrong.
        """

    def logs(self, service: str, lines: int, *, follow: bool) -> None:
        """Print the end of the logs of one service, or of all."""


def choose(name: str, project: Project, values: Mapping[str, str]) -> Engine:
    """Return the engine that was asked for; by default this machine's processes.

    Raises:
        Refused: there is no engine of that name.
    """
    if name not in ("", *NAMES):
        raise Refused(f"there is no engine {name!r}", f"choose one of: {', '.join(NAMES)}", code=2)
    from ops.engines.local import LocalEngine  # noqa: PLC0415 - an engine brings heavy libraries

    return LocalEngine(project, values)
