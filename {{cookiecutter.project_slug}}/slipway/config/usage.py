"""How the compose files, the application's settings and slipway/ use each variable."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING, Any

from slipway.config import compose_file, variables
from slipway.config.schema import APPLICATION, FILE, TASKS, did_you_mean, settings_keys
from slipway.core.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.config.schema import Variable
    from slipway.core.project import Project

ENV_FILE, SECRETS = "env_file", "secrets"  # pragma: allowlist secret
BOTH = frozenset({ENV_FILE, SECRETS})


@dataclass(frozen=True)
class Usage:
    """How the files of the repository use variables."""

    services: Mapping[str, frozenset[str]]
    """For each service, the variables of its environment, and those filled in for it."""
    filled_in: Mapping[str, frozenset[str]]
    """For each service, the variables that compose and `x-local` fill in, which need a source."""
    takes: Mapping[str, frozenset[str]]
    """For each service, which of its files it reads: its `env_file`, its `secrets`."""
    settings: frozenset[str]
    """The keys of the application's settings, as variables."""
    from_environment: frozenset[str]
    """Those of them without a default in config/settings.yaml."""
    tasks: frozenset[str]
    """The variables that slipway/ declares."""


def find_usage(project: Project) -> Usage:
    """Read the files.

    Raises:
        Refused: a compose file cannot be read.
    """
    handed: dict[str, set[str]] = {}
    filled: dict[str, set[str]] = {}
    takes: dict[str, frozenset[str]] = {}
    for services in compose_file.read_profiles(project.root).values():
        for service, entry in services.items():
            filled.setdefault(service, set()).update(compose_file.filled_variables(entry))
            takes[service] = takes.get(service, BOTH) & _takes(service, entry)
            handed.setdefault(service, set()).update(compose_file.environment_names(entry))
    keys = settings_keys(project.source / project.package / "settings.py")
    return Usage(
        services={name: frozenset(filled[name] | handed[name]) for name in filled},
        filled_in={name: frozenset(found) for name, found in filled.items()},
        takes=takes,
        settings=keys,
        from_environment=keys - _defaults(project.root / "config" / "settings.yaml"),
        tasks=variables.READ,
    )


def _takes(service: str, entry: Mapping[str, Any]) -> frozenset[str]:
    """Return which of its files a service reads, as services/api/compose.yaml does."""
    given = entry.get("env_file") or []
    paths = [str(one["path"] if isinstance(one, dict) else one) for one in given]
    named = entry.get("secrets") or []
    sources = [one["source"] if isinstance(one, dict) else one for one in named]
    found = [ENV_FILE] if any(path.endswith(f"/{service}.env") for path in paths) else []
    return frozenset(found + ([SECRETS] if service in sources else []))


def _defaults(path: Path) -> frozenset[str]:
    """Return the variables to which the settings file gives a default for every profile."""
    content = compose_file.read_yaml(path) if path.is_file() else {}
    return frozenset(key.upper() for key in content.get("default") or {})


def findings(usage: Usage, described: Sequence[Variable]) -> Iterator[Finding]:
    """Compare the use of variables with the schema, in both directions.

    A variable that is used but not described, or not passed on, is silently missing: a failure. One
    that the schema lists but nothing reads is a mistake that breaks nothing.
    """
    described = [variable for variable in described if not variable.setting]
    known = {variable.name: variable for variable in described}
    for service, names in usage.filled_in.items():
        for name in sorted(names - known.keys()):
            detail = (
                f"service {service} uses {name}, which is not described{did_you_mean(name, known)}"
            )
            yield Finding("compose", "fail", detail, f"describe it in {FILE}, or correct its name")
    for name in sorted(usage.from_environment - known.keys()):
        detail = f"{name} is needed, but neither in config/settings.yaml nor described"
        fix = f"give {name.lower()} a value there, or describe it in {FILE}"
        yield Finding("settings", "fail", f"{detail}{did_you_mean(name, known)}", fix)
    for variable in described:
        yield from _readers(variable, usage)
    yield from _unused(usage, described)


def _readers(variable: Variable, usage: Usage) -> Iterator[Finding]:
    """Find readers of a variable that read_by lacks, and names in read_by that do not read it."""
    name, place = variable.name, f"edit {FILE}:{variable.line}"
    users = {service for service, names in usage.services.items() if name in names}
    users |= {APPLICATION} if name in usage.settings else set()
    said = {*variable.read_by} - {TASKS}
    for reader in sorted(users - said):
        yield Finding("compose", "warn", f"{name} is used by {reader}: add it to read_by", place)
    if APPLICATION in said - users:
        meant = did_you_mean(name, usage.settings)
        detail = f"{name} is not a key of the application's settings, which ignore it"
        yield Finding("settings", "fail", f"{detail}{meant}", place)
    needed = {ENV_FILE} | ({SECRETS} if variable.is_secret else set())
    for reader in sorted((said - users) & {*usage.services}) if not variable.set_by else ():
        if lacking := sorted(needed - usage.takes[reader]):
            detail = f"{name} is read by {reader}, whose compose file has no {' or '.join(lacking)}"
            fix = f"add what services/api/compose.yaml has, with {reader} for api"
            yield Finding("compose", "fail", detail, fix)
    if TASKS in variable.read_by and name not in usage.tasks:
        yield Finding(
            "tasks", "warn", f"{name} has tasks in read_by, but slipway/ does not read it", place
        )


def _unused(usage: Usage, described: Sequence[Variable]) -> Iterator[Finding]:
    """Find variables that nothing uses, not even another variable's default."""
    texts = [text for variable in described for text in variable.default.values()]
    used_names = {name for text in texts for name in Template(text).get_identifiers()}
    used_names |= usage.tasks.union(usage.settings, *usage.services.values())
    for variable in described:
        readers = {*variable.read_by} & {*usage.services}
        if variable.name not in used_names and not readers and not variable.set_by:
            fix = f"remove it: {FILE}:{variable.line}"
            yield Finding("compose", "warn", f"{variable.name} is not used", fix)
