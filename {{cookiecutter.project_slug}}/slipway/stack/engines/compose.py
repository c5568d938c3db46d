"""The stack as containers of the engine that `docker` talks to."""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import DockerException, NotFound

from slipway.config import service_env
from slipway.config.compose_file import needed_services
from slipway.core import journal, output, shell
from slipway.core.errors import Refused
from slipway.core.files import handed_over
from slipway.core.transaction import uninterrupted
from slipway.models import replicas as models_replicas
from slipway.stack import health
from slipway.stack.build import images
from slipway.stack.build.compose_cli import application_user, composition, keys
from slipway.stack.engines import Replica, Status, refuse_unknown
from slipway.stack.services import awaited_to_end, configured, shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from docker.models.containers import Container

    from slipway.config.service_env import Handout
    from slipway.core.project import Project
    from slipway.stack.build.compose_cli import Composition

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
REVISION = "org.opencontainers.image.revision"
SERVES = "serves=models"
"""The label of a service that loads models, and loads others when they become current."""
READS_ONCE = "reads=once"
"""The label of a service that sees another value of a secret only when it is started anew."""
RUNS_ONCE = "runs=once"
"""The label of a service of which two would do the same work."""
SCHEDULER = "scheduler"
"""The service that makes restore points: it writes the journal, and holds the lock of changes."""
SHARES = 64
"""Of the processors, for what tries a model out; others have 1024, where there is not enough."""
READABLE, RUNNABLE = 0o044, 0o011
"""What everybody may read; a script or a folder that its owner may, everybody may run or enter."""
POLL = 0.5
"""Seconds between two looks at containers that are starting."""
BUILD_LIMIT = 3600.0
PULL_LIMIT = 1800.0
ONCE_LIMIT = 1800.0
"""Seconds until compose has everything started; training a first model is a part of it."""
STOP_LIMIT = 300.0


class ComposeEngine:
    """Runs the services of a profile's compose files."""

    name = "compose"

    def __init__(
        self,
        project: Project,
        values: Mapping[str, str],
        *,
        gpu: bool = False,
        name: str = "",
        before_removal: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the project and its effective variables; nothing is asked of the engine yet.

        `name` is what the containers go by, whatever the environment says; `before_removal` is
        called while there still are containers to look at.
        """
        self.project = project
        files = composition(project.root, project.slug, values, gpu=gpu)
        self.composition = replace(files, name=name or files.name)
        self.before_removal = before_removal
        self.environment = {**values, "APP_UID": str(application_user())}
        self.log = project.run / "compose" / "up.log"

    @cached_property
    def client(self) -> docker.DockerClient:
        """The SDK's connection to the engine."""
        try:
            return docker.from_env(timeout=30)
        except DockerException as error:
            fix = "start Docker, or: inv deploy.up --engine local"
            raise Refused(f"no container engine answers: {error}", fix) from error

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """Each service as compose resolves it, with every variable filled in."""
        said = self._ask("config", "--format", "json")
        services: dict[str, dict[str, Any]] = json.loads(said)["services"]
        return services

    @cached_property
    def handouts(self) -> dict[str, Handout]:
        """What each service is to be handed."""
        return service_env.planned(self.project, self.environment, self.name)

    @cached_property
    def building(self) -> dict[str, str]:
        """The variables of what may build: labels too, under the version that is to run."""
        source = images.origin(self.project.root, self.environment.get("VERSION", ""))
        return source.variables | self.environment

    @cached_property
    def once(self) -> set[str]:
        """The services that run to their end before others start."""
        return awaited_to_end(self.services.values())

    def containers(self, service: str = "") -> list[Container]:
        """Return the containers there are, running or not, without those of single commands."""
        labels = [f"{PROJECT}={self.composition.name}", f"{ONE_OFF}=False"]
        labels += [f"{SERVICE}={service}"] if service else []
        found: list[Container] = self.client.containers.list(
            all=True, filters={"label": labels}, ignore_removed=True
        )
        return found

    def up(self, limit: float) -> bool:
        """Get the images, start and await every service; say whether any had to be started.

        The steps before them run each time: where there is nothing to do, they do nothing.
        """
        before = {item.id: started(item) for item in self.containers()}
        self._refuse_taken_ports()
        self.get_images()
        handed = service_env.taken(self.project)
        self._make_room(hand_out=True)
        self._share_with_scheduler()
        try:
            self._start(limit, before)
        except BaseException:
            if before:  # what was not replaced runs on, and reads its files again
                service_env.put_back(self.project, handed)
            else:
                self._stop()
                output.say("  What this command had started is stopped again; data is kept.")
            raise
        lasting = [item for item in self.containers() if item.labels[SERVICE] not in self.once]
        return any(before.get(item.id) != started(item) for item in lasting)

    def down(self, *, volumes: bool = False) -> bool:
        """Stop and remove every container; the volumes only if that is asked for."""
        ran = bool(self.containers())
        self._stop(*(["--volumes"] if volumes else []))
        return ran

    def status(self) -> list[Status]:
        """Look at every service that stays up."""
        found = self.containers()
        by_name = {name: [c for c in found if c.labels[SERVICE] == name] for name in self.services}
        return [
            look(name, entry, by_name[name])
            for name, entry in self.services.items()
            if name not in self.once
        ]

    def ports(self) -> dict[str, int]:
        """Return the port of this machine that each service has, or will have."""
        published = {name: entry.get("ports") or [] for name, entry in self.services.items()}
        return {name: int(ports[0]["published"]) for name, ports in published.items() if ports}

    def scale(self, service: str, replicas: int, limit: float) -> None:
        """Run a service so many times, or as often as before where that does not work.

        Raises:
            Refused: there is no such service, or it can run only once, or did not start.
        """
        refuse_unknown(service, self.services)
        if replicas > 1 and (why := only_once(self.services[service])):
            raise Refused(f"{service} {why}, so it can run only once")
        before = sum(item.status == "running" for item in self.containers(service))
        try:
            self._run_times(service, replicas, limit)
            self._await_health(Progress(self.once), limit)
        except BaseException:
            with uninterrupted():
                try:
                    self._run_times(service, before, STOP_LIMIT)
                    output.say(f"  {service} is back to {before}.")
                except Refused as error:
                    output.say(f"  {service} cannot be put back to {before}: {error.what}")
            raise

    def _run_times(self, service: str, replicas: int, limit: float) -> None:
        if replicas < len(self.containers(service)):
            self.before_removal()
        options = ["--no-deps", "--no-recreate", "--scale", f"{service}={replicas}"]
        self._logged("up", "--detach", *options, service, timeout=limit)

    def replicas(self) -> list[Replica]:
        """Return the running containers of the services that serve models."""
        return [
            Replica(str(item.name), item.attrs["Config"]["Hostname"]) for item in self._serving()
        ]

    def images(self) -> dict[str, str]:
        """Return what each service's containers were made from."""
        return {item.labels[SERVICE]: self._digest(item) for item in self.containers()}

    def _digest(self, container: Container) -> str:
        """Return the digest that a container's image has in its registry, or the image's id."""
        id_ = str(container.attrs["Image"])
        try:
            known = self.client.images.get(id_).attrs["RepoDigests"]
        except NotFound:  # removed, or built anew under the same name
            known = []
        return str((known or [id_])[0])

    def trial(self, command: Sequence[str], limit: float) -> Iterator[str]:
        """Run a command in a container beside the service that serves models.

        It is made of the image that runs, which may be older than the newest one.
        """
        name = f"{self.composition.name}-trial-{secrets.token_hex(4)}"
        # Requests are answered meanwhile: what runs need not be asked of git or of compose.
        running = self._serving()
        self._make_room(hand_out=not running)
        service = running[0].labels[SERVICE] if running else self._that_serves()
        env = self.environment if running else self.building
        with self._made_of(service, running[0].attrs["Image"] if running else "") as files:
            options = ("--rm", "--no-TTY", "--no-deps", "--name", name, *keys(os.environ))
            words = files.command("run", *options, service)
            root = self.project.root
            try:
                yield from shell.lines([*words, *command], cwd=root, env=env, timeout=limit)
            finally:
                with suppress(NotFound):
                    self.client.containers.get(name).remove(force=True)

    def _that_serves(self) -> str:
        """Name the service that serves models."""
        return next(name for name, entry in self.services.items() if SERVES in _labels(entry))

    def _serving(self) -> list[Container]:
        """Return the running containers that serve models."""
        labels = [f"{PROJECT}={self.composition.name}", f"{ONE_OFF}=False", SERVES]
        found: list[Container] = self.client.containers.list(
            filters={"label": labels}, ignore_removed=True
        )
        return found

    @contextmanager
    def _made_of(self, service: str, image: str) -> Iterator[Composition]:
        """Give compose files in which a service has a certain image; the usual one by default.

        It gets what the others leave of the processors: requests come first.
        """
        made = {"image": image, "pull_policy": "never"} if image else {}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"services": {service: {"cpu_shares": SHARES, **made}}}, file)
            file.flush()
            yield replace(self.composition, files=(*self.composition.files, file.name))

    def run(self, command: Sequence[str], service: str = "") -> None:
        """Run a command in a container of its own, of the application or made as a service's are.

        It sees files of this machine: what was changed can be tried before it is built in.
        """
        if service:
            refuse_unknown(service, self.services)
        inside = ["python", *command[1:]] if command[0] == sys.executable else command
        # What it needs is started where nothing runs, and left alone where something does.
        runs = any(item.status == "running" for item in self.containers())
        self._make_room(hand_out=not runs)
        folders = ("config:ro", "src:ro") if service else ("data", "src")
        places = [(self.project.root / name.partition(":")[0], name) for name in folders]
        mounts = [f"--volume={path}:/app/{name}" for path, name in places]
        needs = ["--no-deps"] if runs else []
        options = ["--rm", "--no-TTY", *needs, *mounts, *keys(os.environ)]
        arguments = ["run", *options, service or "prepare", *inside]
        shell.run(self.composition.command(*arguments), cwd=self.project.root, env=self.building)

    def start(self, service: str, limit: float) -> bool:
        """Start one service alone, and wait for its health; say whether it had to be started.

        Raises:
            Refused: it is not healthy within `limit` seconds.
        """
        if any(item.status == "running" for item in self.containers(service)):
            return False
        self._make_room(hand_out=not self.containers())
        wait = ["--wait", "--wait-timeout", f"{limit:.0f}"]
        self._logged("up", "--detach", "--no-deps", *wait, service, timeout=limit + STOP_LIMIT)
        return True

    def rest(self, service: str) -> None:
        """Stop a service that nothing else runs beside, and leave no more than there was."""
        others = [item for item in self.containers() if item.labels[SERVICE] != service]
        if not others:
            self._stop()
        elif not any(item.status == "running" for item in others):
            self._logged("stop", service, timeout=STOP_LIMIT)

    def halt(self, needed: str) -> Callable[[float], None]:
        """Stop what needs a service, however indirectly; return what starts that again."""
        users = users_of(self.services, needed)
        ran = [item for name in users for item in self.containers(name) if item.status == "running"]
        counts = Counter(item.labels[SERVICE] for item in ran)

        def resume(limit: float) -> None:
            if counts:
                scales = [f"--scale={name}={count}" for name, count in counts.items()]
                options = ["--detach", "--no-deps", "--no-build", "--no-recreate", *scales]
                self._logged("up", *options, *counts, timeout=limit)
                self._await_health(Progress(self.once), limit)

        if counts:
            self.before_removal()
            try:
                self._logged("stop", *counts, timeout=STOP_LIMIT)
            except Refused:
                resume(STOP_LIMIT)
                raise
        return resume

    def restart(self, service: str, limit: float) -> None:
        """Start each running copy of a service anew, one after the other; await each one's health.

        It stays the same container: what it is handed in files, it reads again.
        """
        for item in [one for one in self.containers(service) if one.status == "running"]:
            command = ["docker", "restart", str(item.name)]
            shell.read(command, cwd=self.project.root, timeout=STOP_LIMIT)
            deadline = time.monotonic() + limit
            item.reload()
            while (state := _state(item)) != "healthy":
                if state == "failed" or time.monotonic() > deadline:
                    words = self._last_words(service)
                    raise Refused("\n".join([f"{item.name} is {state}", *words]))
                time.sleep(POLL)
                item.reload()

    def reads_once(self, service: str) -> bool:
        """Say whether a service says that it reads what it is handed only when it starts."""
        return READS_ONCE in _labels(self.services[service])

    def logs(self, service: str, lines: int, *, follow: bool) -> None:
        """Print the end of the logs of one service, or of all."""
        if service:
            refuse_unknown(service, self.services)
        options = ["--tail", str(lines), *(["--follow"] if follow else [])]
        command = self.composition.command("logs", *options, *([service] if service else []))
        shell.run(command, cwd=self.project.root, env=self.environment)

    def _refuse_taken_ports(self) -> None:
        """Check that every port to be published is free, or published by this stack already."""
        ours = {item.labels[SERVICE] for item in self.containers() if item.status == "running"}
        health.refuse_taken({name: port for name, port in self.ports().items() if name not in ours})

    def _make_room(self, *, hand_out: bool) -> None:
        """Let the application write where models are, and in run/; `hand_out` its variables.

        What runs keeps those that it was started with: only `up` gives it others.
        """
        if hand_out:
            service_env.write(self.project, self.handouts, self.name)
            for path in configured(self.project.root):
                readable(path)
        run = self.project.run
        told = {models_replicas.folder(run), run / "recovery", *shared(self.project.root)}
        for folder in (self.project.models, *sorted(told)):
            folder.mkdir(parents=True, exist_ok=True)
            _give(folder)

    def _share_with_scheduler(self) -> None:
        """Make what that service shares with the tasks, for the application's user to write.

        What is not there when it is mounted, the engine makes: as a folder, and as root's.
        """
        if SCHEDULER not in self.services:
            return
        here = self.project
        here.backups.mkdir(mode=0o700, exist_ok=True)
        (here.run / "scheduler").mkdir(exist_ok=True)
        files = (here.run / "lock", here.root / journal.NAME)
        for file in files:
            if not file.exists():
                file.touch()
        for path in (here.backups, here.run, here.run / "scheduler", *files):
            _give(path)
        for point in here.backups.iterdir():  # made while the folder was root's
            handed_over(point)

    def get_images(self) -> None:
        """Pull the images of a version that was pushed; else build them, as far as they changed.

        Raises:
            Refused: they cannot be had; what runs is left alone.
        """
        if not images.come_from_registry(self.environment):
            with output.step("images", "building what changed"):
                self._logged("build", timeout=BUILD_LIMIT, env=self.building)
            return
        version, registry = self.environment["VERSION"], self.environment["REGISTRY"]
        ours = [name for name, entry in self.services.items() if "build" in entry]
        try:
            with output.step("images", f"pulling version {version} from {registry}"):
                self._logged("pull", *ours, timeout=PULL_LIMIT)
        except Refused as error:
            what = f"version {version} cannot be pulled from {registry}: {error.what}"
            raise Refused(what, images.not_pulled(version, registry)) from error

    def _start(self, limit: float, before: Mapping[str, str]) -> None:
        """Start everything in compose's order, showing each service's way to health.

        Compose would first start all that does not need a service that has ended: it is stopped
        as soon as one has.
        """
        command = self.composition.command("up", "--detach", "--no-build", "--remove-orphans")
        root, env = self.project.root, self.environment
        shown, deadline = Progress(self.once), time.monotonic() + ONCE_LIMIT
        with (
            self.log.open("ab") as log,
            shell.start(command, cwd=root, env=env, log=log) as docker_,
        ):
            while docker_.poll() is None:
                found = self.containers()
                shown.update(found)
                new = [item for item in found if before.get(item.id) != started(item)]
                if time.monotonic() > deadline or self._is_in_vain(new):
                    docker_.terminate()
                time.sleep(POLL)
        if docker_.returncode:
            raise Refused(self._why_not(docker_.returncode))
        self._await_health(shown, limit)

    def _is_in_vain(self, new: Sequence[Container]) -> bool:
        """Say whether one has ended, while no other is on its way to health.

        A database that makes its files for the first time would not hear that it is to stop.
        """
        under_way = [
            item for item in new if item.status == "running" and _state(item) == "starting"
        ]
        return not under_way and any(map(self._has_ended, new))

    def _has_ended(self, container: Container) -> bool:
        """Say whether a container has ended that should not have."""
        state, lasting = _state(container), container.labels[SERVICE] not in self.once
        return state == "failed" or (state == "done" and lasting)

    def _await_health(self, shown: Progress, limit: float) -> None:
        """Wait until every service is healthy, at most `limit` seconds."""
        deadline = time.monotonic() + limit
        while ill := [item for item in self.status() if item.state != "healthy"]:
            shown.update(self.containers())
            if time.monotonic() > deadline or any(item.state == "failed" for item in ill):
                raise Refused("\n".join(self._diagnosis(ill, limit)))
            time.sleep(POLL)
        shown.update(self.containers())

    def _diagnosis(self, ill: Sequence[Status], limit: float) -> Iterator[str]:
        ill = sorted(ill, key=lambda item: item.state != "failed")
        for item in ill:
            yield f"{item.service} is {item.state} after at most {limit:.0f} s: {item.detail}"
        yield from self._last_words(ill[0].service)

    def _why_not(self, code: int) -> str:
        """Say what kept the stack from starting, with the last words of who failed."""
        for item in self.containers():
            name = item.labels[SERVICE]
            if wrong := self._wrong(item):
                return "\n".join([f"{name} is {wrong}", *self._last_words(name)])
        return f"docker compose up ended with {code}\n{output.last_lines(self.log)}"

    def _wrong(self, container: Container) -> str:
        """Say what is wrong with a container; nothing if all is well, or may be soon."""
        state, restarts = _state(container), container.attrs["RestartCount"]
        if restarts and state in ("failed", "starting"):  # starting: between two of its ends
            return f"failed (restarted {restarts} times)"
        if self._has_ended(container):
            return f"{state} (exit code {container.attrs['State']['ExitCode']})"
        return state if state == "unhealthy" else ""

    def _last_words(self, service: str) -> Iterator[str]:
        for item in self.containers(service)[:1]:
            yield f"last lines of {item.name}:"
            said = item.logs(tail=15).decode(errors="replace").splitlines()
            yield from (f"  | {line}" for line in said)

    def _stop(self, *options: str) -> None:
        self.before_removal()
        self._logged("down", "--remove-orphans", *options, timeout=STOP_LIMIT)

    def _logged(
        self, *arguments: str, timeout: float, env: Mapping[str, str] | None = None
    ) -> None:
        """Run compose with its output in a log, whose end is shown if it fails."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = self.composition.command("--progress", "plain", *arguments)
        root, variables = self.project.root, env or self.environment
        try:
            with self.log.open("ab") as log:
                shell.run(command, cwd=root, env=variables, log=log, timeout=timeout)
        except Refused as error:
            what = f"{error.what}\n{output.last_lines(self.log)}"
            raise Refused(what, code=error.code) from error

    def _ask(self, *arguments: str) -> str:
        command = self.composition.command(*arguments)
        return shell.read(command, cwd=self.project.root, env=self.environment)


class Progress:
    """Says once of each container how it came out of its start, and after how long."""

    def __init__(self, once: set[str]) -> None:
        """Start the clock; `once` are the services that run to their end."""
        self.once = once
        self.start = time.monotonic()
        self.seen: dict[str, str] = {}

    def update(self, containers: Sequence[Container]) -> None:
        """Look at the containers and say what is new."""
        for item in containers:
            state = _state(item)
            under_way = state == "starting" or (
                item.labels[SERVICE] in self.once and item.status == "running"
            )
            if not under_way and self.seen.get(item.name) != state:
                self.seen[item.name] = state
                seconds = time.monotonic() - self.start
                output.say(f"  {item.labels[SERVICE]:<12} {state:<12} {seconds:5.1f} s")


def _state(container: Container) -> str:
    """Return healthy, unhealthy, starting, failed or done."""
    state = container.attrs["State"]
    if state["Status"] == "exited":
        return "failed" if state["ExitCode"] else "done"
    if state["Status"] != "running":
        return "starting" if state["Status"] == "created" else "failed"
    said: str = state.get("Health", {}).get("Status", "healthy")
    return said


def started(container: Container) -> str:
    """Return when a container was last started."""
    return str(container.attrs["State"]["StartedAt"])


def look(name: str, entry: Mapping[str, Any], containers: Sequence[Container]) -> Status:
    """Describe a service from its containers."""
    states = [_state(item) for item in containers]
    running = [item for item in containers if item.status == "running"]
    if not running:
        failed = [item for item in containers if _state(item) == "failed"]
        if failed:
            code = failed[0].attrs["State"]["ExitCode"]
            return Status(name, "failed", None, 0, f"ended with exit code {code}")
        return Status(name, "stopped", None, 0, "not running")
    worst = next((one for one in ("failed", "unhealthy", "starting") if one in states), "healthy")
    said = description(running)
    return Status(name, worst, url(entry), len(running), said, **facts(running))


def facts(running: Sequence[Container]) -> dict[str, Any]:
    """Return the same for scripts, of the newest replica."""
    newest = max(running, key=lambda item: str(item.attrs["State"]["StartedAt"]))
    return {
        "image": newest.attrs["Config"]["Image"],
        "revision": newest.labels.get(REVISION) or None,
        "ports": tuple(_ports(newest)),
        "uptime": int(_age(newest).total_seconds()),
    }


def description(running: Sequence[Container]) -> str:
    """Say which image runs, since when, and what of this machine leads to it."""
    newest = max(running, key=started)
    image = newest.attrs["Config"]["Image"].rsplit("/", 1)[-1]
    revision = newest.labels.get(REVISION)
    built = f"{image} ({images.abbreviated(revision)})" if revision else image
    return ", ".join([built, f"up {_age(newest)}", *_ports(newest)])


def users_of(services: Mapping[str, Mapping[str, Any]], needed: str) -> list[str]:
    """Return the services that need a certain one, however indirectly."""
    found: list[str] = []
    while new := [
        name
        for name, entry in services.items()
        if name not in found and {needed, *found} & {*needed_services(entry)}
    ]:
        found += new
    return found


def only_once(entry: Mapping[str, Any]) -> str:
    """Say why there cannot be two of a service; nothing where there can."""
    if entry.get("ports"):
        return "has a port of this machine"
    if RUNS_ONCE in _labels(entry):
        return f"says {RUNS_ONCE}"
    kept = [
        mount
        for mount in entry.get("volumes") or ()
        if mount["type"] == "volume" and not mount.get("read_only")
    ]
    return "keeps its data in a volume" if kept else ""


def readable(path: Path) -> None:
    """Let whoever a container runs as read what is mounted into it, however it was cloned."""
    mode = stat.S_IMODE(path.stat().st_mode)
    wanted = mode | READABLE | (RUNNABLE if mode & stat.S_IXUSR else 0)
    if mode != wanted:
        path.chmod(wanted)


def _give(path: Path) -> None:
    """Give a path to the application's user, where root deploys and it is another's."""
    if os.getuid() == 0 and path.stat().st_uid != application_user():
        os.chown(path, application_user(), -1)


def _labels(entry: Mapping[str, Any]) -> set[str]:
    """Return the labels of a service as key=value."""
    return {f"{key}={value}" for key, value in (entry.get("labels") or {}).items()}


def _ports(container: Container) -> list[str]:
    """Return what of this machine leads into a container, such as 8000->80/tcp."""
    bound = container.attrs["NetworkSettings"]["Ports"].items()
    return sorted({f"{held['HostPort']}->{inner}" for inner, all_ in bound for held in all_ or []})


def _age(container: Container) -> timedelta:
    since = datetime.fromisoformat(started(container)[:19]).replace(tzinfo=UTC)
    return timedelta(seconds=int((datetime.now(UTC) - since).total_seconds()))


def url(entry: Mapping[str, Any]) -> str | None:
    """Return where a browser finds a service: its first published port, if that speaks HTTP."""
    for port in entry.get("ports") or []:
        if port.get("published") and port.get("app_protocol", "http") == "http":
            return f"http://{port.get('host_ip') or '127.0.0.1'}:{port['published']}"
    return None
