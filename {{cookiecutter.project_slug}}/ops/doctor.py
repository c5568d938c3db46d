"""What could keep this repository from working on this machine: one finding a line."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops import environment, health, registry
from ops.engines import Status, choose
from ops.errors import Refused
from ops.stack import Service, local_services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ops.project import Project

OLDEST_PYTHON = (3, 11)
ENOUGH_DISK = 2 * 1024**3
"""Bytes: an environment, images and a few models fit."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ok, warn (works without) or fail, and what to type if it is not ok."""

    check: str
    state: str
    detail: str
    fix: str = ""


def examine(project: Project, profile: str) -> list[Finding]:
    """Look at everything; a check that cannot be made is a finding too."""
    checks: list[tuple[str, Callable[[Project, str], Iterator[Finding]]]] = [
        ("python", _python),
        ("engine", _engine),
        ("disk", _disk),
        ("env", _env),
        ("ports", _ports),
        ("stack", _stack),
        ("models", _models),
    ]
    return [finding for name, check in checks for finding in _made(name, check, project, profile)]


def _made(
    name: str, check: Callable[[Project, str], Iterator[Finding]], project: Project, profile: str
) -> list[Finding]:
    try:
        return list(check(project, profile))
    except (Refused, OSError) as error:
        return [
            Finding(name, "fail", getattr(error, "what", str(error)), getattr(error, "fix", ""))
        ]


def _python(_project: Project, _profile: str) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info[:2] < OLDEST_PYTHON
    own = sys.prefix != sys.base_prefix
    if old:
        yield Finding("python", "fail", f"{version} is too old", "install Python 3.11 or newer")
    elif own:
        yield Finding("python", "ok", f"{version} in {sys.prefix}")
    else:
        yield Finding(
            "python", "warn", f"{version}, not in a virtual environment", "python -m venv .venv"
        )


def _engine(_project: Project, _profile: str) -> Iterator[Finding]:
    import docker  # noqa: PLC0415 - heavy, and only this check asks it
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        client = docker.from_env(timeout=5)
        yield Finding(
            "engine",
            "ok",
            f"processes; a container engine {client.version()['Version']} answers too",
        )
    except DockerException:
        yield Finding("engine", "ok", "processes of this machine; no container engine answers")


def _disk(project: Project, _profile: str) -> Iterator[Finding]:
    free = shutil.disk_usage(project.root).free
    text = f"{free / 1024**3:.1f} GiB free in {project.root}"
    enough = free >= ENOUGH_DISK
    yield Finding("disk", "ok" if enough else "warn", text, "" if enough else "free some space")


def _env(project: Project, profile: str) -> Iterator[Finding]:
    path = project.env_file(profile)
    absent = [variable.name for variable in environment.missing(project, profile)]
    if not path.is_file():
        yield Finding("env", "warn", f"no {path.name} yet", f"inv env.init --profile {profile}")
    elif absent:
        yield Finding(
            "env", "fail", f"no value for {', '.join(absent)}", f"set them in {path.name}"
        )
    elif path.stat().st_mode & 0o077:
        yield Finding("env", "fail", f"other users can read {path.name}", f"chmod 600 {path.name}")
    else:
        yield Finding("env", "ok", f"{path.name}: every variable has a value")


def _services(project: Project, profile: str) -> tuple[dict[str, str], list[Service]]:
    values = {item.name: item.value for item in environment.effective(project, profile)}
    return values, local_services(project.root, values)


def _ports(project: Project, profile: str) -> Iterator[Finding]:
    values, services = _services(project, profile)
    ours = {item.service for item in choose("", project, values).status() if item.replicas}
    for item in services:
        if item.port and item.name not in ours and health.port_taken(item.port):
            fix = f"stop it, or set {item.name.upper()}_PORT in {project.env_file(profile).name}"
            held = f"{item.port} for {item.name}: held by {health.port_holder(item.port)}"
            yield Finding("ports", "fail", held, fix)
            break
    else:
        ports = ", ".join(f"{item.port} {item.name}" for item in services if item.port)
        yield Finding("ports", "ok", f"free or ours: {ports}")


def _stack(project: Project, profile: str) -> Iterator[Finding]:
    values, _ = _services(project, profile)
    found = choose("", project, values).status()
    ill = [item for item in found if item.state != "healthy"]
    if not ill:
        yield Finding("stack", "ok", f"{len(found)} services are healthy")
    elif len(ill) == len(found) and all(item.state == "stopped" for item in ill):
        yield Finding("stack", "ok", "not running")
    else:
        yield Finding("stack", "fail", "; ".join(map(_described, ill)), "inv deploy.logs")


def _described(status: Status) -> str:
    return f"{status.service} is {status.state} ({status.detail})"


def _models(project: Project, _profile: str) -> Iterator[Finding]:
    for path in registry.dangling(project.models):
        yield Finding(
            "models", "fail", f"{path.name} points to a file that is not there", "inv models.train"
        )
    current = [model for model in registry.models(project.models) if model.current]
    for model in current:
        wrong = registry.damaged(model)
        fix = f"inv models.train --tier {model.tier}" if wrong else ""
        yield Finding(
            "models",
            "fail" if wrong else "ok",
            wrong or f"{model.tier} serves {model.version}",
            fix,
        )
    if not current:
        yield Finding(
            "models", "warn", "none yet", "inv deploy.up trains them, or: inv models.train"
        )
