"""Commands in running containers, over what they are given: no value is in a list of arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.core import shell
from slipway.core.errors import Refused
from slipway.stack.engines.compose import SERVICE, ComposeEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker.models.containers import Container

    from slipway.core.shell import Ended

LIMIT = 60.0


class Inside:
    """The running container of a service."""

    def __init__(self, engine: ComposeEngine, service: str) -> None:
        """Take the engine; nothing is asked of it yet."""
        self.engine = engine
        self.service = service

    def container(self) -> Container:
        """Return it.

        Raises:
            Refused: the service does not run.
        """
        if found := running(self.engine, self.service):
            return found[0]
        raise Refused(f"{self.service} does not run, and it has to", "inv deploy.up, then again")

    def run(self, *command: str, given: str) -> Ended:
        """Run a command to its end.

        Raises:
            Refused: it takes too long, or the service does not run.
        """
        name = str(self.container().name)
        root = self.engine.project.root
        return shell.fed(executed(name, command), given, cwd=root, timeout=LIMIT)


def executed(container: str, command: Sequence[str]) -> list[str]:
    """Build what runs a command in a container, over the standard input."""
    return ["docker", "exec", "--interactive", container, *command]


def running(engine: ComposeEngine, service: str = "") -> list[Container]:
    """Return the containers of a service, or of all, that run."""
    return [item for item in engine.containers(service) if item.status == "running"]


def addresses(engine: ComposeEngine) -> dict[str, str]:
    """Return which service each address of the stack's network belongs to."""
    return {
        network["IPAddress"]: item.labels[SERVICE]
        for item in running(engine)
        for network in item.attrs["NetworkSettings"]["Networks"].values()
        if network["IPAddress"]
    }
