"""What is wrong here, from the checks of all rooms: with variables and secrets, or with anything.

A room that this repository was made without is not asked.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from slipway.config import check as config_check
from slipway.config import values
from slipway.config.schema import COMPOSE, LOCAL
from slipway.core import shell
from slipway.core.errors import Finding, Refused
from slipway.core.project import has_room
from slipway.secret import due, encrypted_env, scan_git, scan_images
from slipway.secret.scan_git import QUICK, THOROUGH
from slipway.stack import health, services
from slipway.stack.engines import choose_engine, engine_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine, ServiceStatus

Check: TypeAlias = "Callable[[Machine], Iterator[Finding]]"

LAYERS = 60.0
"""Seconds that the search through images may take."""
OLDEST_PYTHON = (3, 11)
GIB = 1024**3
ENOUGH_DISK, TOO_LITTLE_DISK = 2 * GIB, GIB // 10
"""Bytes: below the first images may not fit, below the second nothing does."""


class Machine:
    """What is looked at; the engine is asked once, when a check first needs it."""

    def __init__(self, project: Project, profile: str) -> None:
        """Take the repository on this machine, and the profile that it would run."""
        self.project = project
        self.profile = profile

    @cached_property
    def engine(self) -> Engine:
        """The engine that the next task would use."""
        name = engine_name("", self.project)
        return choose_engine(name, self.project, values.held(self.project, self.profile, name))

    @cached_property
    def status(self) -> list[ServiceStatus]:
        """The services as they are."""
        return self.engine.status()


def check_variables(
    project: Project, profile: str, engine: str = "", limit: float = QUICK
) -> list[Finding]:
    """Check everything that concerns a profile's variables; where nothing is wrong, say that.

    Without an engine it is the one in use, or that the profile usually runs on. The search through
    git takes `limit` seconds at most; layers of images are searched where there is time.
    """
    engine = engine or values.usual_engine(project, profile)
    found = [*config_check.checks(project, profile, engine)]
    if any(item.check == "schema" for item in found):
        return found
    secrets = config_check.secrets_in_use(project, profile, engine)
    found += encrypted_env.checks(project, profile)
    found += scan_git.checks(project, profile, secrets, limit)
    if engine == COMPOSE and secrets:
        layers = LAYERS if limit >= THOROUGH else 0
        found += scan_images.checks(project, profile, secrets, layers)
    if has_room("secret/rotation"):
        from slipway.secret import rotation  # noqa: PLC0415 - optional: only with such secrets

        found += rotation.checks(project.root, profile)
    name = project.env_file(profile).name
    return found or [Finding("env", "ok", f"{name}: every variable has a value")]


def refuse_failures(project: Project, profile: str, engine: str) -> None:
    """Stop before anything is touched.

    Raises:
        Refused: something fails; all of it is listed, each with what to type.
    """
    found = check_variables(project, profile, engine)
    if failed := [item for item in found if item.state == "fail"]:
        raise Refused(f"profile {profile} is not ready:{config_check.listed(failed)}", code=2)


def check_machine(project: Project, profile: str) -> list[Finding]:
    """Look at everything; a check that cannot be made is a finding too."""
    checks: list[Check] = [_python, _engine, _disk, _env, _rotation, _settings]
    of_what_stays_up: list[Check] = [_ports, _stack]
    if has_room("models"):
        of_what_stays_up.append(_models)
    if has_room("backup"):
        of_what_stays_up.append(_backup)
    machine = Machine(project, profile)
    found = [finding for check in checks for finding in _made(check, machine)]
    if _stays_up(project):
        return [*found, *(one for check in of_what_stays_up for one in _made(check, machine))]
    return [*found, Finding("stack", "ok", "nothing stays up here")]


def _stays_up(project: Project) -> bool:
    """Say whether a deployment is of anything; where that cannot be told, checks will say why."""
    try:
        return bool(services.deployed_services(project.root))
    except Refused:
        return True


def _made(check: Check, machine: Machine) -> list[Finding]:
    name = check.__name__.strip("_")
    try:
        return list(check(machine))
    except Refused as error:
        return [Finding(name, "fail", error.what.partition("\n")[0], error.fix)]
    except OSError as error:
        return [Finding(name, "fail", str(error))]


def _python(_machine: Machine) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Finding("python", "fail", f"{version} is too old", "install Python 3.11 or newer")
    elif sys.prefix != sys.base_prefix:
        yield Finding("python", "ok", f"{version} in {sys.prefix}")
    else:
        detail = f"{version}, not in a virtual environment"
        yield Finding("python", "warn", detail, "python -m venv .venv")


def _engine(machine: Machine) -> Iterator[Finding]:
    name = machine.engine.name
    what = {LOCAL: "processes of this machine", COMPOSE: "containers (docker compose)"}
    yield Finding("engine", "ok", f"{name}: {what[name]}")


def _disk(machine: Machine) -> Iterator[Finding]:
    free = shutil.disk_usage(machine.project.root).free
    state = "ok" if free >= ENOUGH_DISK else "warn" if free >= TOO_LITTLE_DISK else "fail"
    detail = f"{free / GIB:.1f} GiB free in {machine.project.root}"
    yield Finding("disk", state, detail, "" if state == "ok" else "free some space")


def _env(machine: Machine) -> Iterator[Finding]:
    project, profile = machine.project, machine.profile
    path = project.env_file(profile)
    if path.is_file():
        found = check_variables(project, profile)
        yield from (replace(item, check="env") for item in found)
    else:
        fix = values.how_to_make(project, profile)
        yield Finding("env", "warn", f"no {path.name} yet", fix)


def _rotation(machine: Machine) -> Iterator[Finding]:
    """Tell of secrets that are to be replaced, or of which nobody knows how old they are."""
    found = due.due_secrets(machine.project, machine.profile, due.SOON_DAYS)
    if urgent := due.urgent_secrets(found):
        said = ", ".join(f"{item.name} {item.state} {item.due}".rstrip() for item in urgent)
        fix = f"inv env.due --profile {machine.profile}"
        yield Finding("rotation", "warn", said, fix)
    elif found:
        yield Finding("rotation", "ok", f"the next is due on {found[0].due}: {found[0].name}")


def _settings(machine: Machine) -> Iterator[Finding]:
    """Let the application read its own settings, where it has any."""
    project, profile = machine.project, machine.profile
    if not _has(project, "settings"):
        return
    env = values.held(project, profile) | {"PYTHONPATH": str(project.source)}
    command = [sys.executable, "-m", f"{project.package}.settings"]
    try:
        shell.read(command, cwd=project.root, env=env)
    except Refused as error:
        said = " ".join(error.what.split("error: ")[-1].split())
        yield Finding("settings", "fail", said, "edit config/settings.yaml")
    else:
        yield Finding("settings", "ok", "the application accepts them")


def _has(project: Project, module: str) -> bool:
    """Say whether there is such a module of the application: services may go without it."""
    return (project.source / project.package / f"{module}.py").is_file()


def _ports(machine: Machine) -> Iterator[Finding]:
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
        yield Finding("ports", "ok", f"free or ours: {listed}")


def _stack(machine: Machine) -> Iterator[Finding]:
    found = machine.status
    ill = [item for item in found if item.state != "healthy"]
    if not ill:
        yield Finding("stack", "ok", f"{len(found)} services are healthy")
    elif all(item.state == "stopped" for item in found):
        yield Finding("stack", "ok", "not running")
    else:
        yield Finding("stack", "fail", "; ".join(map(_described, ill)), "inv deploy.logs")


def _described(status: ServiceStatus) -> str:
    return f"{status.service} is {status.state} ({status.detail})"


def _models(machine: Machine) -> Iterator[Finding]:
    from slipway.models import maintenance  # noqa: PLC0415 - optional: only where models are served

    yield from maintenance.checks(machine.project)


def _backup(machine: Machine) -> Iterator[Finding]:
    from slipway.backup import checks  # noqa: PLC0415 - optional: only where there is data

    yield from checks.checks(machine.project, machine.profile, machine.engine.name)
