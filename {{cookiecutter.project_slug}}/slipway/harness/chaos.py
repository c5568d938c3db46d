"""A stack in containers that scenarios are played on: disturbed, and put back as it was."""

from __future__ import annotations

import io
import time
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from docker.models.containers import Container

    from slipway.harness.scenarios import Disturb
    from slipway.stack.engines.compose import ComposeEngine

GRACE = 5
"""Seconds that a service is given to stop."""
POLL = 0.3
HIDDEN = "hidden-"


class Stage:
    """The stack, and how to undo what was done to it."""

    def __init__(self, engine: ComposeEngine, limit: float) -> None:
        """Take a stack that is up; `limit` is the seconds it may take to become healthy again."""
        self.engine = engine
        self.limit = limit
        self._undo = ExitStack()

    @property
    def url(self) -> str:
        """Where the stack is reached: at its proxy.

        Raises:
            Refused: nothing of it is reached from outside.
        """
        urls = {item.service: item.url for item in self.engine.status() if item.url}
        if not urls:
            raise Refused("no service of the stack has a port for HTTP")
        return urls.get("proxy") or next(iter(urls.values()))

    def disturb(self, step: Disturb) -> None:
        """Do something to the stack.

        Raises:
            Refused: that cannot be done to it.
        """
        act: Callable[[object], None] = getattr(self, f"_{step.verb}")
        act(step.what)

    def restore(self) -> None:
        """Undo what was done, the last first."""
        self._undo.close()

    def inside(self, service: str, command: Sequence[str]) -> tuple[int, str, str]:
        """Run a command in a container of a service; return its exit code, output and errors."""
        code, streams = self._running(service)[0].exec_run(list(command), demux=True)
        output, errors = ((stream or b"").decode(errors="replace") for stream in streams)
        return int(code), output, errors

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

    def _replicas(self, service: str) -> list[Container]:
        found = sorted(self.engine.containers(service), key=lambda item: str(item.name))
        if not found:
            raise Refused(f"{service} has no container")
        return found

    def _running(self, service: str) -> list[Container]:
        found = [item for item in self._replicas(service) if item.status == "running"]
        if not found:
            raise Refused(f"no container of {service} is running")
        return found

    def _stop(self, service: str) -> None:
        for item in self._running(service):
            self._undo.callback(item.start)
            item.stop(timeout=GRACE)

    def _pause(self, service: str) -> None:
        for item in self._running(service):
            self._undo.callback(item.unpause)
            item.pause()

    def _kill(self, service: str) -> None:
        """End one replica; the engine leaves it so."""
        item = self._running(service)[0]
        self._undo.callback(item.start)
        item.kill()

    def _crash(self, service: str) -> None:
        """End the processes of one replica, and wait until the engine brings it back."""
        item = self._running(service)[0]
        self._undo.callback(item.start)  # no more than a look where it runs already
        before, deadline = item.attrs["State"]["StartedAt"], time.monotonic() + self.limit
        item.exec_run(["sh", "-c", "kill -9 -1"])
        while item.attrs["State"]["StartedAt"] == before or item.status != "running":
            if time.monotonic() > deadline:
                raise Refused(f"{item.name} did not come back within {self.limit:.0f} s")
            time.sleep(POLL)
            item.reload()

    def _restart(self, services: str) -> None:
        for service in services.split():
            for item in self._running(service):
                item.restart(timeout=GRACE)

    def _hide(self, pattern: str) -> None:
        """Take files of the stack's folder out of sight."""
        root: Path = self.engine.project.root
        found = sorted(root.glob(pattern))
        if not found:
            raise Refused(f"there is no {pattern} to hide")
        for path in found:
            hidden = path.with_name(HIDDEN + path.name)
            path.rename(hidden)
            self._undo.callback(hidden.rename, path)

    def _scale(self, asked: dict[str, int]) -> None:
        for service, replicas in asked.items():
            before = len(self._running(service))
            self._undo.callback(self._to, service, before)
            self._to(service, replicas)

    def _to(self, service: str, replicas: int) -> None:
        if len(self.engine.containers(service)) != replicas:
            with redirect_stdout(io.StringIO()):  # a scenario is one line of progress
                self.engine.scale(service, replicas, self.limit)
        found = len(self._running(service))
        if found != replicas:
            raise Refused(f"{service} runs {found} times, not {replicas}")
