"""Commands of `docker compose`, and commands inside running containers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.core import output, shell
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from docker.models.containers import Container

    from slipway.core.shell import Ended
    from slipway.stack.build.compose_cli import Composition
    from slipway.stack.engines.compose import ComposeEngine

EXEC_LIMIT = 60.0
"""Seconds that a command in a running container may take."""


@dataclass(frozen=True)
class ComposeRunner:
    """Runs commands of `docker compose` on one stack."""

    composition: Composition
    root: Path
    environment: Mapping[str, str]
    log: Path
    """What the longer commands print."""
    names: Callable[[], Mapping[str, str]]
    """Returns the variables for names of what the container engine has already."""

    def variables(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a command that the container engine takes part in."""
        return {**(env or self.environment), **self.names()}

    def read(self, *arguments: str) -> str:
        """Return what a command prints.

        Raises:
            Refused: it fails.
        """
        command = self.composition.command(*arguments)
        return shell.read(command, cwd=self.root, env=self.environment)

    def show(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        """Run a command in view of the caller.

        Raises:
            Refused: it fails.
        """
        command = self.composition.command(*arguments)
        shell.run(command, cwd=self.root, env=self.variables(env))

    def attempt(self, *arguments: str, limit: float) -> Ended:
        """Run a command to its end, however it ends."""
        command = self.composition.command(*arguments)
        return shell.attempt(command, cwd=self.root, env=self.variables(), timeout=limit)

    def logged(self, *arguments: str, limit: float, env: Mapping[str, str] | None = None) -> None:
        """Run a command with its output in the log.

        Raises:
            Refused: it fails; the last lines of the log are part of the message.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = self.composition.command("--progress", "plain", *arguments)
        try:
            with self.log.open("ab") as log:
                shell.run(command, cwd=self.root, env=self.variables(env), log=log, timeout=limit)
        except Refused as error:
            what = f"{error.what}\n{output.last_lines(self.log)}"
            raise Refused(what, code=error.code) from error


class ServiceContainer:
    """The container of a service in a stack: asked, or given commands to run inside."""

    def __init__(self, engine: ComposeEngine, service: str) -> None:
        """Take the engine; nothing is asked of it yet."""
        self.engine = engine
        self.service = service

    @property
    def is_defined(self) -> bool:
        """Whether the stack has such a service."""
        return self.service in self.engine.services

    @property
    def is_running(self) -> bool:
        """Whether a container of the service is running."""
        return bool(self.engine.stack.running(self.service))

    @property
    def environment(self) -> dict[str, str]:
        """The variables that compose gives the service."""
        found: dict[str, str] = self.engine.services[self.service]["environment"]
        return found

    def container(self) -> Container:
        """Return the running container.

        Raises:
            Refused: the service is not running.
        """
        if found := self.engine.stack.running(self.service):
            return found[0]
        raise Refused(f"{self.service} has to be running", "inv deploy.up, then try again")

    def run(self, *command: str, given: str) -> Ended:
        """Run a command inside to its end; `given` is its standard input.

        Raises:
            Refused: it takes too long, or the service is not running.
        """
        words = exec_command(str(self.container().name), command)
        return shell.attempt(words, given=given, cwd=self.engine.project.root, timeout=EXEC_LIMIT)

    def addresses(self) -> dict[str, str]:
        """Return the service at each address of the stack's network."""
        return self.engine.stack.addresses()


def exec_command(container: str, command: Sequence[str]) -> list[str]:
    """Build what runs a command in a container.

    Secrets go in over its standard input: a list of arguments can be read by other users.
    """
    return ["docker", "exec", "--interactive", container, *command]
