"""The stack as containers of the engine that `docker` talks to."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from slipway.config import service_env
from slipway.config.schema import COMPOSE
from slipway.core import output, shell
from slipway.core.errors import Refused
from slipway.core.files import parse_json
from slipway.core.transaction import uninterrupted
from slipway.stack import health
from slipway.stack.build import images
from slipway.stack.build.compose_cli import key_options, profile_composition
from slipway.stack.build.pull import pull_or_build
from slipway.stack.engines import permissions
from slipway.stack.engines.base import RemovedParts, Replica, ReplicaAccess, refuse_unknown
from slipway.stack.engines.containers import (
    SERVES,
    SERVICE,
    StackContainers,
    connect_engine,
    container_state,
    started_at,
)
from slipway.stack.engines.exec import ComposeRunner, ServiceContainer, exec_command
from slipway.stack.engines.ownership import StackOwnership
from slipway.stack.engines.progress import POLL, HealthWatch, StartProgress
from slipway.stack.services import READS_ONCE, labels_of, services_needing, why_single

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import docker
    from docker.models.containers import Container

    from slipway.config.service_env import ServiceEnv
    from slipway.core.project import Project
    from slipway.stack.build.compose_cli import Composition
    from slipway.stack.engines.base import ServiceStatus

SCHEDULER = "scheduler"
"""The service that makes restore points: it writes the journal, and holds the lock of changes."""
TRIAL_SHARES = 64
"""The share of the processors that a trial gets where they are scarce; services have 1024."""
START_LIMIT = 1800.0
"""Seconds until compose has started everything, which includes training a first model."""
STOP_LIMIT = 300.0
API_PORT = 8000
"""Where the API listens in its container (Dockerfile)."""


class ComposeEngine:
    """Runs the services of a profile's compose files."""

    name = COMPOSE

    def __init__(
        self,
        project: Project,
        values: Mapping[str, str],
        *,
        gpu: bool = False,
        name: str = "",
        before_removal: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the project and its effective variables; the container engine is not asked yet.

        `name` is what the containers go by, whatever the environment says; `before_removal` is
        called while there still are containers to look at.
        """
        self.project = project
        files = profile_composition(project.root, project.slug, values, gpu=gpu)
        self.composition = replace(files, name=name or files.name)
        self.before_removal = before_removal
        user = str(permissions.application_user())
        self.environment = {**values, "APP_UID": user}
        log = project.run / "compose" / "up.log"
        self.ownership = (
            None if name else StackOwnership(project, self.composition.name, values["APP_ENV"])
        )
        """Whose the stack is; one with a name of its own is nobody else's."""
        self.compose = ComposeRunner(
            self.composition, project.root, self.environment, log, self._volume_names
        )
        self.stack = StackContainers(self.composition.name, self._connect)

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """Each service as compose resolves it, with every variable filled in."""
        resolved = self.compose.read("config", "--format", "json")
        services: dict[str, dict[str, Any]] = parse_json(resolved)["services"]
        return services

    @cached_property
    def watch(self) -> HealthWatch:
        """What watches over the health of the services."""
        return HealthWatch(self.stack, self.services)

    @cached_property
    def service_envs(self) -> dict[str, ServiceEnv]:
        """The variables and secrets of each service."""
        return service_env.plan_service_envs(self.project, self.environment, self.name)

    @cached_property
    def building(self) -> dict[str, str]:
        """The variables of what may build: labels too, under the version that is to run."""
        source = images.image_origin(self.project.root, self.environment.get("VERSION", ""))
        return {**source.variables, **self.environment}

    def _connect(self) -> docker.DockerClient:
        """Connect to the container engine, unless the stack is another clone's."""
        if not self.ownership:
            return connect_engine()
        self.ownership.refuse_other()
        return self.ownership.client

    def _volume_names(self) -> dict[str, str]:
        """Return the variables for the names of this profile's volumes."""
        if not self.ownership:
            return {}
        self.ownership.refuse_other()
        return {"VOLUME_PREFIX": self.ownership.volume_prefix()}

    def containers(self, service: str = "") -> list[Container]:
        """Return the containers of a service, or of all, running or not, without one-offs."""
        return self.stack.of(service)

    def obtain_images(self) -> None:
        """Pull the images of a version that was pushed; else build those that changed."""
        pull_or_build(self.compose, self.services, self.building)

    def up(self, limit: float) -> bool:
        """Get the images, start and await every service; say whether any had to be started.

        The steps before them run each time: where there is nothing to do, they do nothing.
        """
        before = {item.id: started_at(item) for item in self.stack.of()}
        self._refuse_taken_ports()
        self.obtain_images()
        env_files = service_env.read_service_envs(self.project)
        self._prepare_files(write_envs=True)
        if SCHEDULER in self.services:
            permissions.share_with_scheduler(self.project)
        try:
            self._start(limit, before)
        except BaseException:
            if before:  # what was not replaced runs on, and reads its files again
                service_env.restore_service_envs(self.project, env_files)
            else:
                self._stop()
                output.say("  What this command had started is stopped again; data is kept.")
            raise
        lasting = [item for item in self.stack.of() if item.labels[SERVICE] not in self.watch.once]
        return any(before.get(item.id) != started_at(item) for item in lasting)

    def _refuse_taken_ports(self) -> None:
        """Check that every port to be published is free, or published by this stack already."""
        ours = {item.labels[SERVICE] for item in self.stack.running()}
        health.refuse_taken_ports(
            {name: port for name, port in self.ports().items() if name not in ours}
        )

    def _prepare_files(self, *, write_envs: bool) -> None:
        """Make the folders that containers write to, and with `write_envs` the services' variables.

        What runs keeps the variables that it was started with: only `up` gives it others.
        """
        if self.ownership:
            self.ownership.claim()
        if write_envs:
            service_env.write_service_envs(self.project, self.service_envs, self.name)
            permissions.make_mounts_readable(self.project.root, self.composition.files[0])
        permissions.make_writable_folders(self.project)

    def _start(self, limit: float, before: Mapping[str, str]) -> None:
        """Start everything in compose's order, showing each service's way to health.

        Compose goes on starting what does not need a service that has failed, so it is stopped as
        soon as one has.
        """
        command = self.composition.command("up", "--detach", "--no-build", "--remove-orphans")
        root, env = self.project.root, self.compose.variables()
        shown, deadline = StartProgress(self.watch.once), time.monotonic() + START_LIMIT
        with (
            self.compose.log.open("ab") as log,
            shell.start(command, cwd=root, env=env, log=log) as process,
        ):
            while process.poll() is None:
                found = self.stack.of()
                shown.update(found)
                new = [item for item in found if before.get(item.id) != started_at(item)]
                if time.monotonic() > deadline or self.watch.is_in_vain(new):
                    process.terminate()
                time.sleep(POLL)
        if code := process.returncode:
            ended = f"docker compose up ended with {code}\n{output.last_lines(self.compose.log)}"
            raise Refused(self.watch.why_not_started(ended))
        self.watch.await_health(limit, shown)

    def down(self, *, volumes: bool = False) -> RemovedParts:
        """Stop and remove every container; the profile's volumes only if that is asked for."""
        ran, before = bool(self.stack.of()), self._volumes()
        self._stop(*(["--volumes"] if volumes else []))
        gone = before - self._volumes()
        if self.ownership:
            self.ownership.release()
        return RemovedParts(ran, tuple(sorted(gone)))

    def _volumes(self) -> set[str]:
        return {*self.ownership.volumes()} if self.ownership else set()

    def _stop(self, *options: str) -> None:
        self.before_removal()
        self.compose.logged("down", "--remove-orphans", *options, limit=STOP_LIMIT)

    def status(self) -> list[ServiceStatus]:
        """Look at every service that stays up."""
        return self.watch.status()

    def ports(self) -> dict[str, int]:
        """Return the port of this machine that each service has, or will have."""
        published = {name: entry.get("ports") or [] for name, entry in self.services.items()}
        return {name: int(ports[0]["published"]) for name, ports in published.items() if ports}

    def scale(self, service: str, replicas: int, limit: float) -> None:
        """Run a number of replicas of a service, or as many as before where that does not work.

        Raises:
            Refused: there is no such service, or it can run only once, or did not start.
        """
        refuse_unknown(service, self.services)
        if replicas > 1 and (why := why_single(self.services[service])):
            raise Refused(f"{service} {why}, so it can run only once")
        before = len(self.stack.running(service))
        try:
            self._run_times(service, replicas, limit)
            self.watch.await_health(limit)
        except BaseException:
            with uninterrupted():
                try:
                    self._run_times(service, before, STOP_LIMIT)
                    output.say(f"  {service} is back to {before}.")
                except Refused as error:
                    output.say(f"  {service} could not be put back to {before}: {error.what}")
            raise

    def _run_times(self, service: str, replicas: int, limit: float) -> None:
        if replicas < len(self.stack.of(service)):
            self.before_removal()
        options = ["--no-deps", "--no-recreate", "--scale", f"{service}={replicas}"]
        self.compose.logged("up", "--detach", *options, service, limit=limit)

    def replicas(self) -> list[Replica]:
        """Return the running containers of the services that serve models."""
        return [
            Replica(str(item.name), item.attrs["Config"]["Hostname"])
            for item in self.stack.serving()
        ]

    def replica_access(self, replica: Replica) -> ReplicaAccess:
        """Say how one replica is asked something: from inside its container."""
        python = exec_command(replica.name, ["python"])
        return ReplicaAccess(tuple(python), f"http://127.0.0.1:{API_PORT}")

    def service_container(self, service: str) -> ServiceContainer:
        """Return the container of a service, running or not."""
        return ServiceContainer(self, service)

    def images(self) -> dict[str, str]:
        """Return the image of each service's containers."""
        return {item.labels[SERVICE]: self.stack.image_digest(item) for item in self.stack.of()}

    def trial(self, command: Sequence[str], limit: float) -> Iterator[str]:
        """Run a command in a container beside the service that serves models.

        The container is made from the image that is running, which may be older than the newest.
        """
        name = f"{self.composition.name}-trial-{secrets.token_hex(4)}"
        # Requests are answered meanwhile: what runs need not be asked of git or of compose.
        running = self.stack.serving()
        self._prepare_files(write_envs=not running)
        service = running[0].labels[SERVICE] if running else self._serving_service()
        env = self.compose.variables(None if running else self.building)
        with self._with_image(service, running[0].attrs["Image"] if running else "") as files:
            options = ("--rm", "--no-TTY", "--no-deps", "--name", name, *key_options(os.environ))
            words = files.command("run", *options, service)
            root = self.project.root
            try:
                yield from shell.lines([*words, *command], cwd=root, env=env, timeout=limit)
            finally:
                self.stack.remove(name)

    def _serving_service(self) -> str:
        return next(name for name, entry in self.services.items() if SERVES in labels_of(entry))

    @contextmanager
    def _with_image(self, service: str, image: str) -> Iterator[Composition]:
        """Yield compose files in which a service has an image; its usual one if none is given.

        It gets what the others leave of the processors: requests come first.
        """
        own = {"image": image, "pull_policy": "never"} if image else {}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"services": {service: {"cpu_shares": TRIAL_SHARES, **own}}}, file)
            file.flush()
            yield replace(self.composition, files=(*self.composition.files, file.name))

    def run(self, command: Sequence[str], service: str = "") -> None:
        """Run a command in a container of its own, of the application or made as a service's are.

        It sees files of this machine, so a change can be tried before it is built into an image.
        """
        if service:
            refuse_unknown(service, self.services)
        inside = ["python", *command[1:]] if command[0] == sys.executable else command
        # What it needs is started where nothing runs, and left alone where something does.
        runs = bool(self.stack.running())
        self._prepare_files(write_envs=not runs)
        folders = ("config:ro", "src:ro") if service else ("data", "src")
        places = [(self.project.root / name.partition(":")[0], name) for name in folders]
        mounts = [f"--volume={path}:/app/{name}" for path, name in places]
        needs = ["--no-deps"] if runs else []
        options = ["--rm", "--no-TTY", *needs, *mounts, *key_options(os.environ)]
        self.compose.show("run", *options, service or "prepare", *inside, env=self.building)

    def start_service(self, service: str, limit: float) -> bool:
        """Start one service alone, and wait for its health; say whether it had to be started.

        Raises:
            Refused: it is not healthy within `limit` seconds.
        """
        if self.stack.running(service):
            return False
        self._prepare_files(write_envs=not self.stack.of())
        wait = ["--wait", "--wait-timeout", f"{limit:.0f}"]
        options = ["--detach", "--no-deps", *wait, service]
        self.compose.logged("up", *options, limit=limit + STOP_LIMIT)
        return True

    def stop_if_alone(self, service: str) -> None:
        """Stop a service beside which nothing else runs; remove it if it has the stack alone."""
        others = [item for item in self.stack.of() if item.labels[SERVICE] != service]
        if not others:
            self._stop()
        elif not any(item.status == "running" for item in others):
            self.compose.logged("stop", service, limit=STOP_LIMIT)

    def halt(self, needed: str) -> Callable[[float], None]:
        """Stop everything that needs a service; return what starts it again."""
        users = services_needing(self.services, needed)
        ran = [item for name in users for item in self.stack.running(name)]
        counts = Counter(item.labels[SERVICE] for item in ran)

        def resume(limit: float) -> None:
            if counts:
                scales = [f"--scale={name}={count}" for name, count in counts.items()]
                options = ["--detach", "--no-deps", "--no-build", "--no-recreate", *scales]
                self.compose.logged("up", *options, *counts, limit=limit)
                self.watch.await_health(limit)

        if counts:
            self.before_removal()
            try:
                self.compose.logged("stop", *counts, limit=STOP_LIMIT)
            except Refused:
                resume(STOP_LIMIT)
                raise
        return resume

    def restart(self, service: str, limit: float) -> None:
        """Restart each running copy of a service, one after the other, awaiting its health.

        It stays the same container, and reads its variables and secrets from their files again.
        """
        for item in self.stack.running(service):
            command = ["docker", "restart", str(item.name)]
            shell.read(command, cwd=self.project.root, timeout=STOP_LIMIT)
            deadline = time.monotonic() + limit
            item.reload()
            while (state := container_state(item)) != "healthy":
                if state == "failed" or time.monotonic() > deadline:
                    lines = self.watch.last_lines(service)
                    raise Refused("\n".join([f"{item.name} is {state}", *lines]))
                time.sleep(POLL)
                item.reload()

    def reads_once(self, service: str) -> bool:
        """Say whether a service reads its secrets only when it starts, by its label."""
        return READS_ONCE in labels_of(self.services[service])

    def logs(self, service: str, lines: int, *, follow: bool) -> None:
        """Print the end of the logs of one service, or of all."""
        if service:
            refuse_unknown(service, self.services)
        options = ["--tail", str(lines), *(["--follow"] if follow else [])]
        self.compose.show("logs", *options, *([service] if service else []))
