"""The component matrix: what runs, on every profile, read from the compose files alone.

It needs no engine. Where profiles differ, an entry names those that it holds for.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.config import compose_file
from slipway.config.compose_file import PROFILE_FILES
from slipway.config.reference import ProfileEntry, mark_profiles, markdown_cell
from slipway.config.schema import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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
class Component:
    """A service of the compose model, as the matrix shows it."""

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


@dataclass(frozen=True)
class Image:
    """What a Dockerfile's stage says of the containers that it makes."""

    command: str
    health_check: str = ""


def components(root: Path, read: Mapping[str, Sequence[str]]) -> list[Component]:
    """Read every service, in the order of compose.yaml; `read` has the variables that each reads.

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
) -> Component:
    """Read one service; `profiles` has it as each profile composes it."""
    (entry, *_) = profiles.values()
    made = _image(root, entry)

    def each(read: Callable[[dict[str, Any]], Iterable[str]]) -> tuple[ProfileEntry, ...]:
        return mark_profiles({profile: read(one) for profile, one in profiles.items()})

    return Component(
        service=name,
        folder=entry["folder"].name,
        command=each(lambda one: [_runs(one) or made.command]),
        image=each(lambda one: [one["image"], *_built(root, one)]),
        ports=each(lambda one: [port(item) for item in one.get("ports", [])]),
        depends_on=each(_needs),
        volumes=each(lambda one: [_volume(root, one, item) for item in one.get("volumes", [])]),
        environment=each(lambda one: sorted({*compose_file.environment_names(one), *read})),
        filled_in=each(compose_file.compose_variables),
        health_check=each(lambda one: [_health(one, made)]),
        as_a_process=each(_process),
    )


def words(command: str | Sequence[str] | None) -> str:
    """Write a command as one would type it."""
    return command if isinstance(command, str) else " ".join(map(quoted, command or []))


def quoted(word: str) -> str:
    """Quote a word for a shell where it needs it, in double quotes if single ones are in it."""
    doubled = "'" in word and not re.search(r'["$`\\!]', word)
    return f'"{word}"' if doubled else shlex.quote(word)


def port(item: str | Mapping[str, Any]) -> str:
    """Write a published port in compose's short form."""
    if isinstance(item, str):
        return item
    parts = (item.get("host_ip"), item.get("published"), item["target"])
    return ":".join(str(part) for part in parts if part)


def _runs(entry: Mapping[str, Any]) -> str:
    """Write what compose has a container run; nothing where that is the image's own."""
    return " ".join(filter(None, (words(entry.get(key)) for key in ("entrypoint", "command"))))


def _needs(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {how.removeprefix('service_').replace('_', ' ')}"
        for name, how in compose_file.needed_services(entry).items()
    ]


def _volume(root: Path, entry: Mapping[str, Any], item: str | Mapping[str, Any]) -> str:
    """Write a volume with its source relative to the repository."""
    if not isinstance(item, str):
        item = f"{item['source']}:{item['target']}"
    source, _, target = item.partition(":")
    if not source.startswith("."):
        return item
    return f"./{os.path.relpath(entry['folder'] / source, root)}:{target}"


def _health(entry: Mapping[str, Any], made: Image) -> str:
    check = entry.get("healthcheck") or {}
    if check.get("disable"):
        return ""
    test = check.get("test") or made.health_check
    if isinstance(test, list):
        test = words(test[1:]) if test[0].startswith("CMD") else words(test)
    return str(test)


def _process(entry: Mapping[str, Any]) -> list[str]:
    local = entry.get("x-local") or {}
    return [" ".join(local["command"].split())] if local else []


def _built(root: Path, entry: Mapping[str, Any]) -> list[str]:
    """Say which Dockerfile makes the image, if one of this repository does."""
    if not (build := entry.get("build")):
        return []
    file = os.path.relpath(_dockerfile(entry), root)
    return [f"{file} --target {build['target']}" if "target" in build else file]


def _dockerfile(entry: Mapping[str, Any]) -> Path:
    build = entry["build"]
    return Path(entry["folder"], build["context"], build.get("dockerfile", "Dockerfile"))


def _image(root: Path, entry: Mapping[str, Any]) -> Image:
    """Return what the image of a service runs and asks where compose says nothing."""
    if not entry.get("build"):
        return Image(f"as in {entry['image']}")
    stages = dockerfile((root / _dockerfile(entry)).read_text(encoding="utf-8"))
    return stages[entry["build"].get("target") or [*stages][-1]]


def dockerfile(text: str) -> dict[str, Image]:
    """Read each stage's command and health check; a stage has what it is made from has."""
    stages: dict[str, Image] = {}
    name = ""
    for keyword, rest in _instructions(text):
        if keyword == "FROM":
            base, *alias = re.split(r"\s+as\s+", rest, flags=re.IGNORECASE)
            name = alias[0] if alias else base
            stages[name] = stages.get(base, Image(f"as in {base}"))
        elif keyword == "CMD":
            stages[name] = Image(_arguments(rest), stages[name].health_check)
        elif keyword == "HEALTHCHECK":
            check = _arguments(rest.partition("CMD ")[2])
            stages[name] = Image(stages[name].command, check)
    return stages


def _instructions(text: str) -> list[tuple[str, str]]:
    whole = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", whole).splitlines()
    split = (line.strip().partition(" ") for line in lines if line.strip())
    return [(keyword.upper(), rest.strip()) for keyword, _, rest in split]


def _arguments(rest: str) -> str:
    """Write what follows CMD as one would type it; its JSON form is a list."""
    return words(json.loads(rest)) if rest.strip().startswith("[") else rest.strip()


def page(found: Sequence[Component]) -> str:
    """Write the matrix as Markdown: one section a folder of services/."""
    folders = dict.fromkeys(component.folder for component in found)
    sections = (
        _section(folder, [item for item in found if item.folder == folder]) for folder in folders
    )
    return "\n".join([HEAD, *sections])


def _section(folder: str, of: Sequence[Component]) -> str:
    names = [item.name for item in fields(Component) if item.name not in {"service", "folder"}]
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
