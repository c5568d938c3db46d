"""What is wrong here: the checks of all rooms, of variables alone or of everything.

A room that this repository was made without is not asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slipway.config import check as config_check
from slipway.config import values
from slipway.config.schema import COMPOSE
from slipway.core import output
from slipway.core.errors import Finding, Refused
from slipway.core.project import has_room
from slipway.secret import due, encrypted_env, scan_git, scan_images
from slipway.secret.scan_git import QUICK, THOROUGH
from slipway.stack.checks import (
    Machine,
    check_disk,
    check_engine,
    check_hooks,
    check_journal,
    check_mounts,
    check_ports,
    check_python,
    check_services,
    check_settings,
    run_check,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipway.core.project import Project

LAYERS = 60.0
"""Seconds that the search through images may take."""


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
    """Stop before anything is touched; say which variables nothing reads.

    Raises:
        Refused: something fails; all of it is listed, each with what to type.
    """
    found = check_variables(project, profile, engine)
    told = [item for item in found if item.state == "fail" or item.check == "unknown"]
    listed = config_check.list_findings(told)
    if any(item.state == "fail" for item in told):
        raise Refused(f"profile {profile} is not ready:{listed}", code=2)
    if told:
        output.say(f"Variables that nothing reads:{listed}")


def check_machine(project: Project, profile: str) -> list[Finding]:
    """Check everything: this machine, the stack on it, and the rooms that this repository has."""
    machine = Machine(project, profile)
    checks = MACHINE_CHECKS | (SERVICE_CHECKS if machine.has_services else {})
    found = [one for name, check in checks.items() for one in run_check(name, check, machine)]
    if machine.has_services:
        return found
    return [*found, Finding("stack", "ok", "no service stays up here")]


def _check_env(machine: Machine) -> Iterator[Finding]:
    project, profile = machine.project, machine.profile
    path = project.env_file(profile)
    if path.is_file():
        found = check_variables(project, profile)
        yield from (replace(item, check="env") for item in found)
    else:
        fix = values.how_to_make(project, profile)
        yield Finding("env", "warn", f"no {path.name} yet", fix)


def _check_rotation(machine: Machine) -> Iterator[Finding]:
    yield from due.checks(machine.project, machine.profile)


def _check_models(machine: Machine) -> Iterator[Finding]:
    if has_room("models"):
        from slipway.models import maintenance  # noqa: PLC0415 - optional: needs served models

        yield from maintenance.checks(machine.project)


def _check_backups(machine: Machine) -> Iterator[Finding]:
    if has_room("backup"):
        from slipway.backup.checks import checks  # noqa: PLC0415 - optional: needs a database

        yield from checks(machine.project, machine.profile, machine.engine.name)


MACHINE_CHECKS: dict[str, Callable[[Machine], Iterator[Finding]]] = {
    "python": check_python,
    "engine": check_engine,
    "disk": check_disk,
    "env": _check_env,
    "rotation": _check_rotation,
    "hooks": check_hooks,
    "journal": check_journal,
    "mounts": check_mounts,
    "settings": check_settings,
}
SERVICE_CHECKS: dict[str, Callable[[Machine], Iterator[Finding]]] = {
    "ports": check_ports,
    "stack": check_services,
    "models": _check_models,
    "backup": _check_backups,
}
"""Only for repositories whose services stay up."""
