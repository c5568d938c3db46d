"""What could keep this repository from working on this machine: one finding a line."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from slipway.backup import display, metrics, restore, restore_point
from slipway.backup import drill as backup_drill
from slipway.backup.schedule import nightly
from slipway.config import check as config_check
from slipway.config import values
from slipway.config.schema import COMPOSE, LOCAL
from slipway.core import journal, shell, transaction
from slipway.core.errors import Finding, Refused
from slipway.models import history, maintenance
from slipway.secret import due
from slipway.stack import health, services
from slipway.stack.engines import choose_engine, engine_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine, ServiceStatus

Check: TypeAlias = "Callable[[Machine], Iterator[Finding]]"

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


def examine(project: Project, profile: str) -> list[Finding]:
    """Look at everything; a check that cannot be made is a finding too."""
    checks: list[Check] = [_python, _engine, _disk, _env, _rotation, _settings]
    of_what_stays_up: list[Check] = [_ports, _stack, _models, _backups, _offsite, _drill]
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
        found = config_check.examine(project, profile)
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
    served = history.served_versions(machine.project.models)
    wrong = [item for item in maintenance.verify_models(machine.project) if item.state != "ok"]
    for item in wrong:
        yield Finding("models", item.state, f"{item.check}: {item.detail}", item.fix)
    if not served and _has(machine.project, "prepare"):
        yield Finding("models", "warn", "none yet", "inv deploy.up trains them")
    elif served and not wrong:
        listed = ", ".join(f"{tier} {version}" for tier, version in served.items())
        yield Finding("models", "ok", f"whole; served: {listed}")


def _backups(machine: Machine) -> Iterator[Finding]:
    if left := restore.interrupted_restore(machine.project.root):
        yield left
    series = (machine.profile, machine.engine.name)
    point = restore_point.newest_point(machine.project.backups, series)
    if not point:
        detail = f"no verified restore point of profile {series[0]} on engine {series[1]}"
        yield Finding("backups", "warn", detail, restore_point.CREATE_COMMAND)
        return
    old, future = point.age > metrics.RECOVERY_POINT, point.age < timedelta()
    detail = f"newest verified restore point: {point.id}, age {display.format_age(point)}"
    if old:
        wanted = metrics.format_objective(metrics.RECOVERY_POINT)
        yield Finding(
            "backups", "warn", f"{detail}; {wanted} are the objective", restore_point.CREATE_COMMAND
        )
    elif future:
        yield Finding(
            "backups", "warn", f"{detail}: the clock was set back", restore_point.CREATE_COMMAND
        )
    else:
        yield Finding("backups", "ok", detail)


def _offsite(machine: Machine) -> Iterator[Finding]:
    """Tell of copies that could not be made: who does it at night has nobody to tell."""
    last = nightly.last_offsite_copy(journal.entries(machine.project.root))
    if last and last.get("outcome") == "failed":
        fix = f"inv backup.export {last.get('point')} --to offsite"
        yield Finding("off-site", "warn", nightly.describe_run(last), fix)


def _drill(machine: Machine) -> Iterator[Finding]:
    left = backup_drill.drill_leftovers(machine.project)
    if left and not transaction.under_way(machine.project.root):
        names = ", ".join(folder.name for folder in left)
        yield Finding(
            "drill", "warn", f"killed, or kept: {names} is still there", backup_drill.DRILL_COMMAND
        )
    series = (machine.profile, machine.engine.name)
    drill = backup_drill.last_drill(machine.project.root, series)
    if not drill:
        point = restore_point.newest_point(machine.project.backups, series)
        detail = f"none was made of profile {series[0]} on engine {series[1]}"
        yield Finding(
            "drill",
            "warn",
            detail,
            backup_drill.DRILL_COMMAND if point else restore_point.CREATE_COMMAND,
        )
        return
    when = f"{drill.point}, {display.format_elapsed(drill.age)} ago"
    if not drill.ok:
        yield Finding("drill", "warn", f"{when}, failed: {drill.error}", backup_drill.DRILL_COMMAND)
        return
    detail, longest = (
        f"{when}, {backup_drill.describe_duration(drill.seconds)}",
        metrics.DRILL_INTERVAL,
    )
    if drill.slow:
        yield Finding(
            "drill", "warn", detail, f"make it shorter, then: {backup_drill.DRILL_COMMAND}"
        )
    elif drill.age > longest:
        wanted = f"one every {metrics.format_objective(longest)} is the objective"
        yield Finding("drill", "warn", f"{detail}; {wanted}", backup_drill.DRILL_COMMAND)
    else:
        yield Finding("drill", "ok", detail)
