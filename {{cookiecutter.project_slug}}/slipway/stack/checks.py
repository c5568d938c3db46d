"""What `inv doctor` looks at in this machine and in the stack that runs on it."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from slipway.config import values
from slipway.config.compose_file import PROFILE_FILES
from slipway.config.schema import COMPOSE, LOCAL
from slipway.core import journal, shell
from slipway.core.errors import Finding, Refused
from slipway.stack import health, hooks, services
from slipway.stack.engines import choose_engine, engine_name, permissions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine, ServiceStatus

GIB = 1024**3
ENOUGH_DISK, TOO_LITTLE_DISK = 2 * GIB, GIB // 10
"""Bytes: below the first images may not fit, below the second nothing does."""


class Machine:
    """The machine that is checked; the engine is asked once, when a check first needs it."""

    def __init__(self, project: Project, profile: str) -> None:
        self.project = project
        self.profile = profile

    @cached_property
    def engine(self) -> Engine:
        """The engine that the next task would use."""
        name = engine_name("", self.project)
        return choose_engine(
            name, self.project, values.read_values(self.project, self.profile, name)
        )

    @cached_property
    def status(self) -> list[ServiceStatus]:
        return self.engine.status()

    @property
    def has_services(self) -> bool:
        """Whether a deployment would start any service; if that is unknown, checks will say why."""
        try:
            return bool(services.deployed_services(self.project.root))
        except Refused:
            return True


def run_check(
    name: str, check: Callable[[Machine], Iterator[Finding]], machine: Machine
) -> list[Finding]:
    """Run a check; one that cannot be run is a finding itself."""
    try:
        return list(check(machine))
    except Refused as error:
        return [Finding(name, "fail", error.what.partition("\n")[0], error.fix)]
    except OSError as error:
        return [Finding(name, "fail", str(error))]


def check_python(_machine: Machine) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.prefix != sys.base_prefix:
        yield Finding("python", "ok", f"{version} in {sys.prefix}")
    else:
        detail = f"{version}, not in a virtual environment"
        yield Finding("python", "warn", detail, "python -m venv .venv")


def check_engine(machine: Machine) -> Iterator[Finding]:
    name = machine.engine.name
    what = {LOCAL: "processes of this machine", COMPOSE: "containers (docker compose)"}
    yield Finding("engine", "ok", f"{name}: {what[name]}")


def check_disk(machine: Machine) -> Iterator[Finding]:
    free = shutil.disk_usage(machine.project.root).free
    state = disk_state(free)
    detail = f"{free / GIB:.1f} GiB free in {machine.project.root}"
    yield Finding("disk", state, detail, "" if state == "ok" else "free some space")


def disk_state(free: int) -> str:
    """Judge the bytes that are free: ok, warn or fail."""
    if free >= ENOUGH_DISK:
        return "ok"
    return "warn" if free >= TOO_LITTLE_DISK else "fail"


def check_hooks(machine: Machine) -> Iterator[Finding]:
    for name, meant in hooks.misspelled_hooks(machine.project.root).items():
        fix = f"mv hooks/{name} hooks/{meant}"
        yield Finding("hooks", "warn", f"hooks/{name} is never run", fix)


def check_journal(machine: Machine) -> Iterator[Finding]:
    if wrong := ", ".join(map(str, journal.unreadable_lines(machine.project.root))):
        detail = f"{journal.NAME}: lines that cannot be read are skipped: {wrong}"
        yield Finding("journal", "warn", detail, f"edit {journal.NAME}: remove only these lines")


def check_mounts(machine: Machine) -> Iterator[Finding]:
    """Name what containers mount and cannot read; what is yours, `inv deploy.up` mends."""
    root = machine.project.root
    if machine.engine.name == COMPOSE:
        for mount, path in permissions.unreadable_mounts(root, PROFILE_FILES[machine.profile]):
            shown = os.path.relpath(path, root)
            state = "warn" if os.getuid() in (0, path.stat().st_uid) else "fail"
            who = f"{mount.service} cannot read it (user {mount.user or 'of its image'})"
            fix = "chmod -R a+rX" if mount.read_only else f"sudo chown -R {mount.user or 'USER'}"
            yield Finding("mounts", state, f"{shown}: {who}", f"{fix} {shown}")


def check_settings(machine: Machine) -> Iterator[Finding]:
    """Let the application read its own settings, if it has any."""
    project, profile = machine.project, machine.profile
    if not (project.source / project.package / "settings.py").is_file():
        return
    env = values.read_values(project, profile) | {"PYTHONPATH": str(project.source)}
    command = [sys.executable, "-m", f"{project.package}.settings"]
    try:
        shell.read(command, cwd=project.root, env=env)
    except Refused as error:
        said = " ".join(error.what.split("error: ")[-1].split())
        yield Finding("settings", "fail", said, "edit config/settings.yaml")
    else:
        yield Finding("settings", "ok", "the application accepts them")


def check_ports(machine: Machine) -> Iterator[Finding]:
    ours = {item.service for item in machine.status if item.replicas}
    wanted, env_file = machine.engine.ports(), machine.project.env_file(machine.profile)
    free = True
    for name, port in wanted.items():
        if name not in ours and health.port_taken(port):
            free = False
            fix = f"stop it, or set another port in {env_file.name}"
            yield Finding("ports", "fail", f"{port} of {name}: {health.port_holder(port)}", fix)
    if free:
        listed = ", ".join(f"{port} {name}" for name, port in wanted.items())
        yield Finding("ports", "ok", f"free, or used by this stack: {listed}")


def check_services(machine: Machine) -> Iterator[Finding]:
    found = machine.status
    ill = [item for item in found if item.state != "healthy"]
    if not ill:
        yield Finding("stack", "ok", f"{len(found)} services are healthy")
    elif all(item.state == "stopped" for item in found):
        yield Finding("stack", "ok", "not running")
    else:
        listed = "; ".join(f"{item.service} is {item.state} ({item.detail})" for item in ill)
        yield Finding("stack", "fail", listed, "inv deploy.logs")
