"""A stack in containers that is disturbed, and put back as it was."""

from __future__ import annotations

import logging
import shlex
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from docker.errors import DockerException

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker.models.containers import Container

    from slipway.stack.engines.compose import ComposeEngine

GRACE = 5
"""Seconds that a service is given to stop."""
POLL = 0.3
HIDDEN = "hidden-"
log = logging.getLogger(__name__)


class HarnessStack:
    """The stack of one run of the harness, as its scenarios see it."""

    def __init__(self, engine: ComposeEngine, package: str, limit: float) -> None:
        """Take a stack that is up.

        `package` is the application's; `limit` is how many seconds a service may take to become
        healthy again.
        """
        self.engine = engine
        self.package = package
        self.limit = limit

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables that the stack runs with, its secrets among them."""
        return self.engine.environment

    @property
    def services(self) -> list[str]:
        """The services that stay up."""
        return [item.service for item in self.engine.status()]

    @property
    def url(self) -> str:
        """Where clients reach the stack: at its proxy.

        Raises:
            Refused: no service can be reached from outside.
        """
        urls = {item.service: item.url for item in self.engine.status() if item.url}
        if not urls:
            raise Refused("no service of the stack has a port for HTTP")
        return urls.get("proxy") or next(iter(urls.values()))

    def execute(self, service: str, command: Sequence[str]) -> tuple[int, str, str]:
        """Run a command in a container of a service; return its exit code, output and errors."""
        code, streams = self.running(service)[0].exec_run(list(command), demux=True)
        output, errors = ((stream or b"").decode(errors="replace") for stream in streams)
        return int(code), output, errors

    def run(self, service: str, *command: str) -> str:
        """Run a command in a container of a service, and return what it printed.

        Raises:
            Refused: its exit code is not 0.
        """
        code, output, errors = self.execute(service, command)
        log.info("in %s: %s: exit code %s: %s%s", service, command, code, output, errors)
        if code:
            (*_, last) = ["", *f"{output}{errors}".strip().splitlines()]
            raise Refused(f"in {service}: {last} (exit code {code} from: {shlex.join(command)})")
        return output

    def await_health(self) -> None:
        """Wait until every service is healthy.

        Raises:
            Refused: one is not within the limit.
        """
        deadline = time.monotonic() + self.limit
        while ill := [item for item in self.engine.status() if item.state != "healthy"]:
            if time.monotonic() > deadline:
                states = ", ".join(f"{item.service} is {item.state}" for item in ill)
                raise Refused(f"not healthy within {self.limit:.0f} s: {states}")
            time.sleep(POLL)

    def replicas(self, service: str) -> list[Container]:
        """Return the containers of a service, running or not."""
        found = sorted(self.engine.containers(service), key=lambda item: str(item.name))
        if not found:
            raise Refused(f"{service} has no container")
        return found

    def running(self, service: str) -> list[Container]:
        """Return the running containers of a service, at least one."""
        found = [item for item in self.replicas(service) if item.status == "running"]
        if not found:
            raise Refused(f"no container of {service} is running")
        return found


class Chaos:
    """Disturbs a stack, and undoes it all."""

    def __init__(self, stack: HarnessStack) -> None:
        """Take a stack that is up."""
        self.stack = stack
        self._undo = ExitStack()
        self._scaled = set[str]()

    def undo_all(self) -> None:
        """Undo what was disturbed, the last first; if one part fails, the others still follow.

        Raises:
            Refused: a part could not be undone.
        """
        self._scaled.clear()
        try:
            self._undo.close()
        except (Refused, DockerException, OSError) as error:
            raise Refused(f"not put back: {error}") from error

    def stop(self, service: str) -> None:
        """Stop a service."""
        log.info("stop %s", service)
        for item in self.stack.running(service):
            self._undo.callback(item.start)
            item.stop(timeout=GRACE)

    def pause(self, service: str) -> None:
        """Freeze a service: it accepts connections, and does not answer."""
        log.info("pause %s", service)
        for item in self.stack.running(service):
            self._undo.callback(item.unpause)
            item.pause()

    def kill(self, service: str) -> None:
        """Kill one replica; it stays down."""
        item = self.stack.running(service)[0]
        log.info("kill %s", item.name)
        self._undo.callback(item.start)
        item.kill()

    def crash(self, service: str) -> None:
        """Kill the processes of one replica, and wait until the engine has restarted it.

        Raises:
            Refused: it was not restarted within the limit.
        """
        item = self.stack.running(service)[0]
        log.info("crash %s", item.name)
        self._undo.callback(item.start)  # does nothing if it is running
        before, deadline = item.attrs["State"]["StartedAt"], time.monotonic() + self.stack.limit
        item.exec_run(["sh", "-c", "kill -9 -1"])
        while item.attrs["State"]["StartedAt"] == before or item.status != "running":
            if time.monotonic() > deadline:
                raise Refused(f"{item.name} was not restarted within {self.stack.limit:.0f} s")
            time.sleep(POLL)
            item.reload()

    def restart(self, *services: str) -> None:
        """Restart services, one after another."""
        log.info("restart %s", ", ".join(services))
        for service in services:
            for item in self.stack.running(service):
                item.restart(timeout=GRACE)

    def hide(self, pattern: str) -> None:
        """Rename files of the stack's repository, so that they are not found.

        Raises:
            Refused: no file matches.
        """
        log.info("hide %s", pattern)
        found = sorted(self.stack.engine.project.root.glob(pattern))
        if not found:
            raise Refused(f"there is no {pattern} to hide")
        for path in found:
            hidden = path.with_name(HIDDEN + path.name)
            path.rename(hidden)
            self._undo.callback(hidden.rename, path)

    def scale(self, service: str, replicas: int) -> None:
        """Run a service as so many replicas.

        Raises:
            Refused: it does not run so.
        """
        log.info("scale %s to %s", service, replicas)
        if service not in self._scaled:  # it goes back to its first number at once
            self._scaled.add(service)
            self._undo.callback(self._run_as, service, len(self.stack.running(service)))
        self._run_as(service, replicas)

    def _run_as(self, service: str, replicas: int) -> None:
        if len(self.stack.engine.containers(service)) != replicas:
            self.stack.engine.scale(service, replicas, self.stack.limit)
        found = len(self.stack.running(service))
        if found != replicas:
            raise Refused(f"{service} has {found} running replicas, not {replicas}")
