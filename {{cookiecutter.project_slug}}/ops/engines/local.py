"""The stack as processes of this machine, without a container engine."""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from supervisor.states import ProcessStates

from ops import health, output, shell
from ops.engines import Status
from ops.engines.supervision import DIED, Places, Supervisor, configuration
from ops.errors import Refused
from ops.stack import Service, local_services

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ops.project import Project

ONCE_LIMIT = 900.0
"""Seconds a step that runs to its end may take; training a first model is one."""
POLL = 0.25
"""Seconds between two questions to a service that is starting."""
WATCHED = ("src", "services", "config", "compose.yaml", "requirements.txt")
"""What a running stack is made from: when one of them changes, `up` starts it anew."""


class LocalEngine:
    """Runs each service's `x-local` under supervisord, and its one-shots before it."""

    name = "local"

    def __init__(self, project: Project, values: Mapping[str, str]) -> None:
        """Take the project and its effective variables; nothing is started yet."""
        self.project = project
        self.services = [
            replace(item, command=tuple(on_path(item.command)))
            for item in local_services(project.root, values)
        ]
        self.places = Places(project.root, project.run / "local")
        self.supervisor = Supervisor(self.places)
        self.environment = environment(project, values)

    def up(self, limit: float) -> bool:
        """Bring every service up and wait for its health; say whether any had to be started."""
        made_from = fingerprint(self.project, self.environment, self.services)
        if self.supervisor.process() and not self._is_made_from(made_from):
            output.say(
                "  The code, the configuration or a variable changed: starting the stack anew."
            )
            self.supervisor.stop()
        started_all = self.supervisor.process() is None
        absent = self._absent()
        refuse_taken_ports(absent)
        try:
            self._start(absent, limit)
            self._refuse_unhealthy()
        except BaseException:
            self._undo(absent, everything=started_all)
            raise
        self.places.fingerprint.write_text(made_from)
        return bool(absent)

    def down(self, *, volumes: bool = False) -> bool:
        """Stop every service and keep its data; say whether anything ran.

        Raises:
            Refused: volumes are to go; there are none, and data/ is not touched.
        """
        if volumes:
            raise Refused("processes have no volumes; their data is in data/ and models/")
        return self.supervisor.stop()

    def scale(self, service: str, replicas: int, limit: float) -> None:
        """Refuse: a process has its port to itself."""
        del replicas, limit
        fix = "inv deploy.up --engine compose"
        raise Refused(f"{service} runs once as a process; containers can be scaled", fix)

    def run(self, command: Sequence[str]) -> None:
        """Run a command of the application with this environment."""
        shell.run(command, cwd=self.project.root, env=self.environment)

    def status(self) -> list[Status]:
        """Look at every service that stays up."""
        states = self.supervisor.states()
        return [look(item, states.get(item.name)) for item in self.services if not item.once]

    def reload(self) -> dict[str, str]:
        """Let every running service that serves models load the current ones."""
        running = self.supervisor.states()
        return {
            item.name: health.tell(item.reload, self.environment.get("API_KEY", ""))
            for item in self.services
            if item.reload and _runs(running.get(item.name))
        }

    def logs(self, service: str, lines: int, *, follow: bool) -> None:
        """Print the end of the logs of one service, or of all."""
        names = [item.name for item in self.services]
        if service and service not in names:
            raise Refused(
                f"there is no service {service!r} here",
                f"choose one of: {', '.join(names)}",
                code=2,
            )
        files = [
            path
            for name in ([service] if service else names)
            if (path := self.places.log(name)).is_file()
        ]
        if not files:
            raise Refused("nothing has been logged yet", "inv deploy.up")
        command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
        shell.run(command, cwd=self.project.root)

    def _is_made_from(self, made_from: str) -> bool:
        path = self.places.fingerprint
        return path.is_file() and path.read_text() == made_from

    def _absent(self) -> list[Service]:
        """Return what has to be started; while all processes run, the steps before need not."""
        running = {name for name, info in self.supervisor.states().items() if _runs(info)}
        absent = [item for item in self.services if item.name not in running]
        return absent if any(not item.once for item in absent) else []

    def _refuse_unhealthy(self) -> None:
        ill = [item for item in self.status() if item.state != "healthy"]
        if ill:
            lines = [f"{item.service} is {item.state}: {item.detail}" for item in ill]
            raise Refused(
                "\n".join(lines), "inv deploy.logs, or start anew: inv deploy.down && inv deploy.up"
            )

    def _start(self, services: Sequence[Service], limit: float) -> None:
        self.places.folder.mkdir(parents=True, exist_ok=True)
        if not self.supervisor.process():
            self.places.config.write_text(configuration(self.services, self.places))
            command = [
                sys.executable,
                "-m",
                "supervisor.supervisord",
                "-c",
                str(self.places.config),
            ]
            shell.run(command, cwd=self.project.root, env=self.environment, timeout=30)
            self.supervisor.await_start()
        for service in services:
            doing = "running to its end" if service.once else f"waiting for {service.health}"
            with output.step(service.name, doing):
                self._run_once(service) if service.once else self._run(service, limit)

    def _run_once(self, service: Service) -> None:
        log = self.places.log(service.name)
        try:
            with log.open("wb") as file:
                shell.run(
                    service.command,
                    cwd=self.project.root,
                    env=self.environment,
                    log=file,
                    timeout=ONCE_LIMIT,
                )
        except Refused as error:
            raise Refused(
                f"{service.name}: {error.what}\n{output.last_lines(log)}", code=error.code
            ) from error

    def _run(self, service: Service, limit: float) -> None:
        log = self.places.log(service.name)
        offset = log.stat().st_size if log.exists() else 0
        self.supervisor.call("startProcess", service.name, False)  # noqa: FBT003 - an RPC takes no keywords
        wrong = self._await_health(service, time.monotonic() + limit, limit)
        if wrong:
            quiet = log.exists() and log.stat().st_size == offset
            said = f"  (it printed nothing: {log})" if quiet else output.last_lines(log)
            raise Refused(f"{service.name} {wrong}\n{said}")

    def _await_health(self, service: Service, deadline: float, limit: float) -> str:
        """Wait until a process is well; return what is wrong if it dies or the deadline passes."""
        while True:
            info = self.supervisor.call("getProcessInfo", service.name)
            if info["state"] in DIED:
                return f"died at start ({info['spawnerr'] or info['description']})"
            wrong = health.ask(service.health)
            if not wrong:
                return ""
            if time.monotonic() > deadline:
                return f"was not healthy after {limit:.0f} s: {wrong}"
            time.sleep(POLL)

    def _undo(self, services: Iterable[Service], *, everything: bool) -> None:
        """Stop what a failed start left: all, or just what it added to a running stack."""
        if everything:
            self.supervisor.stop()
        else:
            states = self.supervisor.states()
            for service in services:
                if _runs(states.get(service.name)):
                    self.supervisor.call("stopProcess", service.name)
        output.say("  What this command had started is stopped again.")


def environment(project: Project, values: Mapping[str, str]) -> dict[str, str]:
    """Return what the processes get on top of this process's environment."""
    return {**values, "PYTHONPATH": str(project.source), "PYTHONUNBUFFERED": "1"}


def fingerprint(project: Project, env: Mapping[str, str], services: Iterable[Service]) -> str:
    """Digest what a running stack is made from; values go in, but cannot be read back."""
    digest = hashlib.sha256(repr([sorted(env.items()), list(services), sys.executable]).encode())
    for name in WATCHED:
        place = project.root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def refuse_taken_ports(services: Iterable[Service]) -> None:
    """Check that every port a service wants is free.

    Raises:
        Refused: one or more are not; each is named with who holds it.
    """
    taken = [item for item in services if item.port and health.port_taken(item.port)]
    if taken:
        lines = [
            f"{item.name} needs port {item.port}, which {health.port_holder(item.port or 0)} holds"
            for item in taken
        ]
        name = f"{taken[0].name.upper()}_PORT"
        raise Refused(
            "\n".join(lines), f"stop it, or choose another: {name}=<free port> inv deploy.up"
        )


def look(service: Service, info: Mapping[str, Any] | None) -> Status:
    """Describe a service by what supervisord and its health check say."""
    if info is None or info["state"] in (ProcessStates.STOPPED, ProcessStates.STOPPING):
        return Status(service.name, "stopped", None, 0, "not running")
    if info["state"] in DIED:
        return Status(service.name, "failed", None, 0, info["spawnerr"] or info["description"])
    wrong = health.ask(service.health)
    state = (
        "starting"
        if wrong and info["state"] == ProcessStates.STARTING
        else "unhealthy"
        if wrong
        else "healthy"
    )
    running = f"pid {info['pid']}, up {timedelta(seconds=info['now'] - info['start'])}"
    return Status(service.name, state, service.url, 1, wrong or running)


def on_path(command: Sequence[str]) -> list[str]:
    """Let `python` be this environment's, whatever the caller's PATH says."""
    return [sys.executable, *command[1:]] if command[0] == "python" else list(command)


def _runs(info: Mapping[str, Any] | None) -> bool:
    return info is not None and info["state"] in (ProcessStates.RUNNING, ProcessStates.STARTING)
