"""What could keep this repository from working on this machine: one finding a line."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops import environment, health, registry, shell
from ops.engines import Status, choose
from ops.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ops.engines import Engine
    from ops.project import Project

OLDEST_PYTHON = (3, 11)
GIB = 1024**3
ENOUGH_DISK, TOO_LITTLE_DISK = 2 * GIB, GIB // 10
"""Bytes: below the first images may not fit, below the second nothing does."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ok, warn (works without) or fail, and what to type if it is not ok."""

    check: str
    state: str
    detail: str
    fix: str = ""


def examine(project: Project, profile: str) -> list[Finding]:
    """Look at everything; a check that cannot be made is a finding too."""
    checks: list[Callable[[Project, str], Iterator[Finding]]] = [
        _python,
        _engine,
        _disk,
        _env,
        _settings,
        _ports,
        _stack,
        _models,
    ]
    return [finding for check in checks for finding in _made(check, project, profile)]


def _made(
    check: Callable[[Project, str], Iterator[Finding]], project: Project, profile: str
) -> list[Finding]:
    name = check.__name__.strip("_")
    try:
        return list(check(project, profile))
    except Refused as error:
        return [Finding(name, "fail", error.what.partition("\n")[0], error.fix)]
    except OSError as error:
        return [Finding(name, "fail", str(error))]


def _python(_project: Project, _profile: str) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Finding("python", "fail", f"{version} is too old", "install Python 3.11 or newer")
    elif sys.prefix != sys.base_prefix:
        yield Finding("python", "ok", f"{version} in {sys.prefix}")
    else:
        detail = f"{version}, not in a virtual environment"
        yield Finding("python", "warn", detail, "python -m venv .venv")


def _opened(project: Project, profile: str) -> Engine:
    return choose("", project, environment.held(project, profile))


def _engine(project: Project, profile: str) -> Iterator[Finding]:
    name = _opened(project, profile).name
    what = {"local": "processes of this machine", "compose": "containers (docker compose)"}
    yield Finding("engine", "ok", f"{name}: {what[name]}")


def _disk(project: Project, _profile: str) -> Iterator[Finding]:
    free = shutil.disk_usage(project.root).free
    state = "ok" if free >= ENOUGH_DISK else "warn" if free >= TOO_LITTLE_DISK else "fail"
    detail = f"{free / GIB:.1f} GiB free in {project.root}"
    yield Finding("disk", state, detail, "" if state == "ok" else "free some space")


def _env(project: Project, profile: str) -> Iterator[Finding]:
    path = project.env_file(profile)
    absent = [variable.name for variable in environment.missing(project, profile)]
    bad = environment.wrong(project, profile)
    strange = environment.unknown(project, profile)
    if not path.is_file():
        yield Finding("env", "warn", f"no {path.name} yet", f"inv env.init --profile {profile}")
    elif absent or bad:
        missing = [f"no value for {', '.join(absent)}"] if absent else []
        yield Finding("env", "fail", "; ".join(missing + bad), f"set them in {path.name}")
    elif path.stat().st_mode & 0o077:
        yield Finding("env", "fail", f"other users can read {path.name}", f"chmod 600 {path.name}")
    elif strange:
        yield Finding("env", "warn", f"nothing reads {', '.join(strange)}", f"edit {path.name}")
    else:
        yield Finding("env", "ok", f"{path.name}: every variable has a value")


def _settings(project: Project, profile: str) -> Iterator[Finding]:
    """Let the application read its own settings."""
    env = environment.held(project, profile) | {"PYTHONPATH": str(project.source)}
    command = [sys.executable, "-m", f"{project.package}.settings"]
    try:
        shell.read(command, cwd=project.root, env=env)
    except Refused as error:
        said = " ".join(error.what.split("error: ")[-1].split())
        yield Finding("settings", "fail", said, "edit config/settings.yaml")
    else:
        yield Finding("settings", "ok", "the application accepts them")


def _ports(project: Project, profile: str) -> Iterator[Finding]:
    engine = _opened(project, profile)
    ours = {item.service for item in engine.status() if item.replicas}
    wanted = engine.ports()
    free = True
    for name, port in wanted.items():
        if name not in ours and health.port_taken(port):
            free = False
            fix = f"stop it, or set another port in {project.env_file(profile).name}"
            yield Finding("ports", "fail", f"{port} of {name}: {health.port_holder(port)}", fix)
    if free:
        listed = ", ".join(f"{port} {name}" for name, port in wanted.items())
        yield Finding("ports", "ok", f"free or ours: {listed}")


def _stack(project: Project, profile: str) -> Iterator[Finding]:
    found = _opened(project, profile).status()
    ill = [item for item in found if item.state != "healthy"]
    if not ill:
        yield Finding("stack", "ok", f"{len(found)} services are healthy")
    elif all(item.state == "stopped" for item in found):
        yield Finding("stack", "ok", "not running")
    else:
        yield Finding("stack", "fail", "; ".join(map(_described, ill)), "inv deploy.logs")


def _described(status: Status) -> str:
    return f"{status.service} is {status.state} ({status.detail})"


def _models(project: Project, _profile: str) -> Iterator[Finding]:
    served = {model.tier: model for model in registry.models(project.models) if model.current}
    for tier in registry.tiers(project.models):
        model = served.get(tier)
        wrong = registry.damaged(model) if model else "its current model is not whole"
        fix = f"inv models.train --tier {tier}" if wrong else ""
        detail = f"{tier}: {wrong}" if wrong else f"{tier} serves {served[tier].version}"
        yield Finding("models", "fail" if wrong else "ok", detail, fix)
    if not registry.tiers(project.models):
        yield Finding("models", "warn", "none yet", "inv deploy.up trains them")
