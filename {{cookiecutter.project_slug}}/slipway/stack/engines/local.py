"""The stack as processes of this machine, without a container engine."""

from __future__ import annotations

import hashlib
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from supervisor.states import ProcessStates

from slipway.config import schema, service_env
from slipway.config.schema import APPLICATION, LOCAL
from slipway.config.service_env import STAMP
from slipway.core import output, shell
from slipway.core.errors import Refused
from slipway.core.files import read_json
from slipway.core.transaction import uninterrupted
from slipway.stack import health
from slipway.stack.engines.base import (
    RemovedParts,
    Replica,
    ReplicaAccess,
    ServiceStatus,
    refuse_unknown,
)
from slipway.stack.engines.supervisor import DIED, Supervisor, SupervisorFiles, supervisor_config
from slipway.stack.processes import MARK, describe_process
from slipway.stack.services import LocalService, local_services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.config.service_env import ServiceEnv
    from slipway.core.project import Project

ONCE_LIMIT = 900.0
"""Seconds that a step may take, such as training a first model."""
POLL = 0.25
"""Seconds between two health checks of a service that is starting."""
WATCHED = ("src", "services", "slipway", "config", "compose.yaml", "requirements.txt")
"""What a stack is started from: when any of it has changed, `up` restarts the stack."""


@dataclass(frozen=True)
class LocalState:
    """A stack that is running, or is to run: enough to look at it and to start it again."""

    made_from: str
    services: tuple[LocalService, ...]

    def write(self, path: Path) -> None:
        """Write it beside the logs; it holds no secret."""
        path.write_text(output.format_json(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> LocalState | None:
        """Return what was written; None if it cannot be read."""
        try:
            said = read_json(path)
            services = (LocalService(**_tuples(item)) for item in said["services"])
            return cls(said["made_from"], tuple(services))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _tuples(item: dict[str, Any]) -> dict[str, Any]:
    """Undo what JSON does to tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}


@dataclass(frozen=True)
class PreviousStack:
    """The stack before a change: its state, configuration, environment and files."""

    state: LocalState
    configuration: str
    environment: dict[str, str]
    env_files: dict[str, str]
    """The variables and secrets of its services, as files."""


CHANGED = "The code, the configuration or a variable has changed"
SOCKET_GONE = "The socket of supervisord is gone"


class LocalEngine:
    """Runs each service's `x-local` under supervisord, and its one-shots before it."""

    name = LOCAL
    ownership = None

    def __init__(self, project: Project, values: Mapping[str, str]) -> None:
        """Take the project and its effective variables; nothing is started yet."""
        self.project = project
        self.services = [
            replace(item, command=tuple(with_this_python(item.command)))
            for item in local_services(project.root, values)
        ]
        self.places = SupervisorFiles(project.root, project.run / "local")
        self.supervisor = Supervisor(self.places)
        self.values = values
        self.environment = process_environment(project, values)

    def up(self, limit: float) -> bool:
        """Start every service and wait for its health; say whether any had to be started.

        Everything that can be refused is refused, and the steps run, before running services are
        touched.
        """
        self._end_orphans()
        target = LocalState(
            stack_fingerprint(self.project, self._variables(), self.services), tuple(self.services)
        )
        running = self.running()
        reachable = self.supervisor.is_reachable
        if running and reachable and running.made_from == target.made_from:
            return self._heal(limit)
        held = {item.port for item in running.services} if running else set()
        wanted = {item.name: item.port for item in self.services if item.port}
        health.refuse_taken_ports({name: port for name, port in wanted.items() if port not in held})
        if running:
            output.say(f"  {CHANGED if reachable else SOCKET_GONE}: restarting.")
        previous = self._previous(running)
        try:
            service_env.write_service_envs(self.project, self.service_envs, self.name)
            self._run_steps()
        except BaseException:
            self._hand_back(previous)
            raise
        try:
            self.supervisor.stop()
            config = supervisor_config(self.services, self.places, self._files())
            self._launch(target, self.environment, config, limit)
        except BaseException:
            self._put_back(previous, limit)
            raise
        return True

    @cached_property
    def service_envs(self) -> dict[str, ServiceEnv]:
        """The variables and secrets of each service, and of the application's commands."""
        return service_env.plan_service_envs(self.project, self.values, self.name)

    def _files(self) -> dict[str, dict[str, str]]:
        """Return the variables that tell each service where its secrets are."""
        return {name: item.named(self.name) for name, item in self.service_envs.items()}

    def _variables(self) -> dict[str, str]:
        """Return the variables of all services, and when their secrets last changed."""
        stamps = {f"{name} {STAMP}": item.stamp for name, item in self.service_envs.items()}
        return self.environment | stamps

    def _application(self, reader: str = APPLICATION) -> dict[str, str]:
        """Return the environment of a command of the application, or of a service."""
        if not self.running():
            service_env.write_service_envs(self.project, self.service_envs, self.name)
        return self.environment | self._files().get(reader, {})

    def _hand_back(self, previous: PreviousStack | None) -> None:
        """Put back the files that the running services were started with."""
        if previous:
            service_env.restore_service_envs(self.project, previous.env_files)

    def down(self, *, volumes: bool = False) -> RemovedParts:
        """Stop every service and keep its data.

        Raises:
            Refused: volumes are to be removed; there are none, and data/ is not touched.
        """
        if volumes:
            raise Refused("processes have no volumes; their data is in data/ and models/")
        return RemovedParts(self.supervisor.stop())

    def running(self) -> LocalState | None:
        """Return the running stack, as it was started; None if none is running."""
        return LocalState.read(self.places.state) if self.supervisor.process() else None

    def ports(self) -> dict[str, int]:
        """Return the port of this machine that each service has, or will have."""
        return {item.name: item.port for item in self._in_force() if item.port}

    def scale(self, service: str, replicas: int, limit: float) -> None:
        """Refuse: a process has its port to itself."""
        del replicas, limit
        refuse_unknown(service, [item.name for item in self.services])
        fix = "inv deploy.down, then inv deploy.up --engine compose"
        raise Refused(f"{service} can run only once as a process; containers can be scaled", fix)

    def run(self, command: Sequence[str], service: str = "") -> None:
        """Run a command with the environment of the application, or of a service."""
        if service:
            refuse_unknown(service, [item.name for item in self.services])
        env = self._application(service or APPLICATION)
        shell.run(with_this_python(command), cwd=self.project.root, env=env)

    def status(self) -> list[ServiceStatus]:
        """Look at every service that stays up."""
        services = [item for item in self._in_force() if not item.once]
        if self.running() and not self.supervisor.is_reachable:
            said = f"{SOCKET_GONE}; to restart: inv deploy.up"
            return [ServiceStatus(item.name, "unhealthy", None, 0, said) for item in services]
        states = self.supervisor.states()
        return [process_status(item, states.get(item.name)) for item in services]

    def replicas(self) -> list[Replica]:
        """Return the running services that serve models."""
        states, running = self.supervisor.states(), self.running()
        return [
            Replica(item.name, socket.gethostname())
            for item in (running.services if running else ())
            if item.serves and _runs(states.get(item.name))
        ]

    def replica_access(self, replica: Replica) -> ReplicaAccess:
        """Say how one replica is asked something: at its port."""
        return ReplicaAccess((sys.executable,), f"http://127.0.0.1:{self.ports()[replica.name]}")

    def service_container(self, service: str) -> None:
        """Return nothing: services are processes."""
        del service

    def obtain_images(self) -> None:
        """Do nothing: a process has no image."""

    def images(self) -> dict[str, str]:
        """Return nothing: a process has no image."""
        return {}

    def trial(self, command: Sequence[str], limit: float) -> Iterator[str]:
        """Run a command with this environment; yield the lines that it prints."""
        words, root = with_this_python(command), self.project.root
        yield from shell.lines(words, cwd=root, env=self._application(), timeout=limit)

    def halt(self, needed: str) -> Callable[[float], None]:
        """Stop all services: any of them may have the files open in which data is kept."""
        del needed
        previous = self._previous(self.running())
        self.supervisor.stop()

        def resume(limit: float) -> None:
            if previous:
                self._launch(previous.state, previous.environment, previous.configuration, limit)

        return resume

    def restart(self, service: str, limit: float) -> None:
        """Restart a process, and wait for its health."""
        for item in self._in_force():
            if item.name == service and not item.once:
                self.supervisor.call("stopProcess", service)
                self._run(item, limit)

    def reads_once(self, service: str) -> bool:
        """Say no: services that read secrets only at their start run in containers only."""
        del service
        return False

    def logs(self, service: str, lines: int, *, follow: bool) -> None:
        """Print the end of the logs of one service, or of all."""
        names = [item.name for item in self.services]
        if service:
            refuse_unknown(service, names)
        files = [
            path
            for name in ([service] if service else names)
            if (path := self.places.log(name)).is_file()
        ]
        if not files:
            raise Refused("nothing has been logged yet", "inv deploy.up")
        command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
        shell.run(command, cwd=self.project.root)

    def _in_force(self) -> tuple[LocalService, ...]:
        """Return the services as they were started, or as they would be if nothing is running."""
        running = self.running()
        return running.services if running else tuple(self.services)

    def _end_orphans(self) -> None:
        """End processes that a killed supervisord, or a killed `inv`, left running."""
        left = self.supervisor.orphans()
        if left:
            output.say(f"  Stopping earlier processes: {', '.join(map(describe_process, left))}")
            self.supervisor.stop()

    def _heal(self, limit: float) -> bool:
        """Restart the services that are not healthy in a stack that has not changed."""
        ill = {item.service for item in self.status() if item.state != "healthy"}
        if ill:
            self._run_steps()
        for service in self.services:
            if service.name in ill:
                if _runs(self.supervisor.states().get(service.name)):
                    self.supervisor.call("stopProcess", service.name)
                with output.step(service.name, f"waiting for {service.health}"):
                    self._run(service, limit)
        return bool(ill)

    def _run_steps(self) -> None:
        """Run the steps before the services, each to its end."""
        self.places.folder.mkdir(parents=True, exist_ok=True)
        for service in self.services:
            if service.once:
                with output.step(service.name, "running to its end"):
                    self._run_once(service)

    def _previous(self, running: LocalState | None) -> PreviousStack | None:
        """Remember the running stack, so that it can be put back."""
        process = self.supervisor.process()
        if not (running and process):
            return None
        config = self.places.config.read_text(encoding="utf-8")
        return PreviousStack(
            running, config, process.environ(), service_env.read_service_envs(self.project)
        )

    def _put_back(self, previous: PreviousStack | None, limit: float) -> None:
        """Stop what a failed start left, and start again what ran before it."""
        with uninterrupted():
            self.supervisor.stop()
            output.say("  What this command had started is stopped again.")
            if not previous:
                return
            output.say("  Putting back what ran before:")
            self._hand_back(previous)
            try:
                self._launch(previous.state, previous.environment, previous.configuration, limit)
            except Refused as error:
                self.supervisor.stop()
                output.say(f"  That failed too: {error.what}")

    def _launch(self, state: LocalState, env: Mapping[str, str], config: str, limit: float) -> None:
        """Start supervisord and each service after those it needs; wait until all are healthy."""
        self.places.folder.mkdir(parents=True, exist_ok=True)
        self.places.config.write_text(config, encoding="utf-8")
        self._start_supervisor(env)
        state.write(self.places.state)
        for service in state.services:
            if not service.once:
                with output.step(service.name, f"waiting for {service.health}"):
                    self._run(service, limit)
        self._refuse_unhealthy()

    def _start_supervisor(self, env: Mapping[str, str]) -> None:
        """Start supervisord; what it prints until it is up goes into its log."""
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.places.config)]
        try:
            with self.places.own_log.open("ab") as log:
                shell.run(command, cwd=self.project.root, env=env, log=log, timeout=30)
        except Refused as error:
            what = f"{error.what}\n{output.last_lines(self.places.own_log)}"
            raise Refused(what, code=error.code) from error
        self.supervisor.await_start()

    def _refuse_unhealthy(self) -> None:
        """Check all once more: one may have died after it was found healthy."""
        ill = [item for item in self.status() if item.state != "healthy"]
        if ill:
            lines = [f"{item.service} is {item.state}: {item.detail}" for item in ill]
            raise Refused("\n".join(lines), "inv deploy.logs")

    def _run_once(self, service: LocalService) -> None:
        log = self.places.log(service.name)
        try:
            with log.open("wb") as file:
                shell.run(
                    service.command,
                    cwd=self.project.root,
                    env=self.environment | self._files().get(service.name, {}),
                    log=file,
                    timeout=ONCE_LIMIT,
                )
        except Refused as error:
            raise Refused(
                f"{service.name}: {error.what}\n{output.last_lines(log)}", code=error.code
            ) from error

    def _run(self, service: LocalService, limit: float) -> None:
        log = self.places.log(service.name)
        offset = log.stat().st_size if log.exists() else 0
        self.supervisor.call("startProcess", service.name, False)  # noqa: FBT003 - an RPC takes no keywords
        wrong = self._await_health(service, time.monotonic() + limit, limit)
        if wrong:
            quiet = log.exists() and log.stat().st_size == offset
            said = f"  (it printed nothing: {log})" if quiet else output.last_lines(log)
            raise Refused(f"{service.name} {wrong}\n{said}")

    def _await_health(self, service: LocalService, deadline: float, limit: float) -> str:
        """Wait until a process is healthy; return why it did not become so."""
        while True:
            info = self.supervisor.call("getProcessInfo", service.name)
            if info["state"] in DIED:
                return f"died while starting ({info['spawnerr'] or info['description']})"
            wrong = health.probe_health(service.health)
            if not wrong:
                return ""
            if time.monotonic() > deadline:
                return f"was not healthy after {limit:.0f} s: {wrong}"
            time.sleep(POLL)


def process_environment(project: Project, values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that processes get on top of this process's environment.

    Secrets are in files, so variables of this environment that hold one are emptied.
    """
    own = {MARK: str(project.root), "PYTHONPATH": str(project.source), "PYTHONUNBUFFERED": "1"}
    hidden = service_env.secret_names(schema.read(project), values)
    return {**values, **dict.fromkeys(hidden, ""), **own}


def stack_fingerprint(
    project: Project, env: Mapping[str, str], services: Iterable[LocalService]
) -> str:
    """Digest all that a stack is started from; values cannot be read back from it."""
    digest = hashlib.sha256(repr([sorted(env.items()), list(services), sys.executable]).encode())
    for name in WATCHED:
        place = project.root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def process_status(service: LocalService, info: Mapping[str, Any] | None) -> ServiceStatus:
    """Describe a service from supervisord and its health check."""
    if info is None or info["state"] in (ProcessStates.STOPPED, ProcessStates.STOPPING):
        return ServiceStatus(service.name, "stopped", None, 0, "not running")
    if info["state"] in DIED:
        return ServiceStatus(
            service.name, "failed", None, 0, info["spawnerr"] or info["description"]
        )
    wrong = health.probe_health(service.health)
    state = (
        "starting"
        if wrong and info["state"] == ProcessStates.STARTING
        else "unhealthy"
        if wrong
        else "healthy"
    )
    uptime = info["now"] - info["start"]
    said = wrong or f"pid {info['pid']}, up {timedelta(seconds=uptime)}"
    ports = (f"{service.port}/tcp",) if service.port else ()
    return ServiceStatus(service.name, state, service.url, 1, said, ports=ports, uptime=uptime)


def with_this_python(command: Sequence[str]) -> list[str]:
    """Replace `python` by this environment's, whatever the caller's PATH says."""
    return [sys.executable, *command[1:]] if command[0] == "python" else list(command)


def _runs(info: Mapping[str, Any] | None) -> bool:
    return info is not None and info["state"] in (ProcessStates.RUNNING, ProcessStates.STARTING)
