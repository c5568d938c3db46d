"""The inventory: every component of the stack, read from the compose files alone.

It needs no container engine. Where profiles differ, an entry names those it holds for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from slipway.config import compose_file
from slipway.config.compose_file import PROFILE_FILES
from slipway.config.reference import ProfileEntry, mark_profiles, markdown_cell
from slipway.config.schema import PROFILES
from slipway.stack.build.dockerfile import (
    DockerfileStage,
    dockerfile_path,
    read_stages,
    typed_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

PAGE = "docs/inventory.md"
HEAD = """\
# Inventory

The components of the stack, from the compose files. `inv stack.inventory > docs/inventory.md`
updates this page, and a test fails if it is out of date.

Variables are filled in from the environment and the profile's env file; env/schema.toml describes
each. A profile in parentheses means that the value is for that one only. A dash means none: a step
that runs to completion has no health check, and some services run in containers only.
"""


@dataclass(frozen=True)
class StackComponent:
    """A service as the inventory shows it."""

    service: str
    folder: str
    command: tuple[ProfileEntry, ...]
    image: tuple[ProfileEntry, ...]
    ports: tuple[ProfileEntry, ...]
    depends_on: tuple[ProfileEntry, ...]
    volumes: tuple[ProfileEntry, ...]
    environment: tuple[ProfileEntry, ...]
    filled_in: tuple[ProfileEntry, ...]
    health_check: tuple[ProfileEntry, ...]
    as_a_process: tuple[ProfileEntry, ...]


def read_components(root: Path, read: Mapping[str, Sequence[str]]) -> list[StackComponent]:
    """Read every service, in the order of compose.yaml; `read` has the variables each one reads.

    Raises:
        Refused: a file is missing or is not a compose file.
    """
    profiles = {
        name: compose_file.read_services(root, file) for name, file in PROFILE_FILES.items()
    }
    found = []
    for name in profiles[PROFILES[0]]:
        entries = {profile: services[name] for profile, services in profiles.items()}
        elsewhere = {
            one for entry in entries.values() for one in compose_file.filled_variables(entry)
        }
        own = [one for one in read.get(name, ()) if one not in elsewhere]
        found.append(_component(root, name, entries, own))
    return found


def _component(
    root: Path, name: str, profiles: Mapping[str, dict[str, Any]], read: Sequence[str]
) -> StackComponent:
    """Read one service from its entry in each profile."""
    (entry, *_) = profiles.values()
    stage = _stage(entry)

    def each(read: Callable[[dict[str, Any]], Iterable[str]]) -> tuple[ProfileEntry, ...]:
        return mark_profiles({profile: read(one) for profile, one in profiles.items()})

    return StackComponent(
        service=name,
        folder=entry["folder"].name,
        command=each(lambda one: [_runs(one) or stage.command]),
        image=each(lambda one: [one["image"], *_built(root, one)]),
        ports=each(lambda one: [port_text(item) for item in one.get("ports", [])]),
        depends_on=each(_needs),
        volumes=each(lambda one: [_volume(root, one, item) for item in one.get("volumes", [])]),
        environment=each(lambda one: sorted({*compose_file.environment_names(one), *read})),
        filled_in=each(compose_file.compose_variables),
        health_check=each(lambda one: [_health(one, stage)]),
        as_a_process=each(_process),
    )


def port_text(item: str | Mapping[str, Any]) -> str:
    """Return a published port in compose's short form."""
    if isinstance(item, str):
        return item
    parts = (item.get("host_ip"), item.get("published"), item["target"])
    return ":".join(str(part) for part in parts if part)


def _runs(entry: Mapping[str, Any]) -> str:
    """Return the command that compose gives a container; nothing if it is the image's own."""
    return " ".join(
        filter(None, (typed_command(entry.get(key)) for key in ("entrypoint", "command")))
    )


def _needs(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {how.removeprefix('service_').replace('_', ' ')}"
        for name, how in compose_file.needed_services(entry).items()
    ]


def _volume(root: Path, entry: Mapping[str, Any], item: str | Mapping[str, Any]) -> str:
    """Return a volume with its source relative to the repository."""
    if not isinstance(item, str):
        item = f"{item['source']}:{item['target']}"
    source, _, target = item.partition(":")
    if not source.startswith("."):
        return item
    return f"./{os.path.relpath(entry['folder'] / source, root)}:{target}"


def _health(entry: Mapping[str, Any], stage: DockerfileStage) -> str:
    check = entry.get("healthcheck") or {}
    if check.get("disable"):
        return ""
    test = check.get("test") or stage.health_check
    if isinstance(test, list):
        test = typed_command(test[1:]) if test[0].startswith("CMD") else typed_command(test)
    return str(test)


def _process(entry: Mapping[str, Any]) -> list[str]:
    local = entry.get("x-local") or {}
    return [" ".join(local["command"].split())] if local else []


def _built(root: Path, entry: Mapping[str, Any]) -> list[str]:
    """Name the Dockerfile of the image, if this repository builds it."""
    if not (build := entry.get("build")):
        return []
    file = os.path.relpath(dockerfile_path(build, entry["folder"]), root)
    return [f"{file} --target {build['target']}" if "target" in build else file]


def _stage(entry: Mapping[str, Any]) -> DockerfileStage:
    """Return the command and health check of a service's image, which compose may replace."""
    if not (build := entry.get("build")):
        return DockerfileStage(f"as in {entry['image']}")
    file = dockerfile_path(build, entry["folder"])
    stages = read_stages(file.read_text(encoding="utf-8"))
    return stages[build.get("target") or [*stages][-1]]


def inventory_page(found: Sequence[StackComponent]) -> str:
    """Return the inventory as Markdown: one section for each folder of services/."""
    folders = dict.fromkeys(component.folder for component in found)
    sections = (
        _section(folder, [item for item in found if item.folder == folder]) for folder in folders
    )
    return "\n".join([HEAD, *sections])


def _section(folder: str, of: Sequence[StackComponent]) -> str:
    names = [item.name for item in fields(StackComponent) if item.name not in {"service", "folder"}]
    rows = [
        ["", *(component.service for component in of)],
        ["---"] * (len(of) + 1),
        *(
            [name.replace("_", " "), *(markdown_cell(getattr(item, name)) for item in of)]
            for name in names
        ),
    ]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"## {folder}\n\n{table}"
