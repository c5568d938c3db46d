"""Dockerfiles: where each is, what its stages run, and the images it takes from elsewhere."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

from slipway.core.errors import Refused
from slipway.core.files import parse_json_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_OTHER = re.compile(r"(?:--from=|--mount=\S*\bfrom=)([^\s,]+)")


class DockerfileInstruction(NamedTuple):
    """One instruction, its lines joined."""

    keyword: str
    rest: str


@dataclass(frozen=True)
class DockerfileStage:
    """What a stage says of the containers made from it."""

    command: str
    health_check: str = ""


def dockerfile_path(build: Mapping[str, Any], folder: Path) -> Path:
    """Return where the Dockerfile of a compose file's `build` is; `folder` is the compose file's."""
    return Path(folder, build["context"], build.get("dockerfile", "Dockerfile"))


def read_instructions(text: str) -> list[DockerfileInstruction]:
    """Read the instructions of a Dockerfile, without comments."""
    whole = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", whole).splitlines()
    split = (line.strip().partition(" ") for line in lines if line.strip())
    return [DockerfileInstruction(keyword.upper(), rest.strip()) for keyword, _, rest in split]


def read_stages(text: str) -> dict[str, DockerfileStage]:
    """Read the command and the health check of each stage, which it may have from its base."""
    stages: dict[str, DockerfileStage] = {}
    name = ""
    for keyword, rest in read_instructions(text):
        if keyword == "FROM":
            base, alias = _base_and_name(rest)
            name = alias or base
            stages[name] = stages.get(base, DockerfileStage(f"as in {base}"))
        elif keyword == "CMD":
            stages[name] = DockerfileStage(_arguments(rest), stages[name].health_check)
        elif keyword == "HEALTHCHECK":
            check = _arguments(rest.partition("CMD ")[2].strip())
            stages[name] = DockerfileStage(stages[name].command, check)
    return stages


def base_images(text: str) -> list[str]:
    """Return the images that a Dockerfile takes from elsewhere: FROM, COPY --from, RUN --mount.

    Raises:
        Refused: a name contains an argument that has no default.
    """
    defaults: dict[str, str] = {}
    named: list[str] = []
    stages = {"scratch"}
    for keyword, rest in read_instructions(text):
        if keyword == "ARG" and not named:
            name, _, value = rest.partition("=")
            defaults |= {name: value.strip('"')} if value else {}
        elif keyword == "FROM":
            base, alias = _base_and_name(rest)
            named.append(base)
            stages.add(alias)
        else:
            named += _OTHER.findall(rest)
    try:
        names = {Template(name).substitute(defaults) for name in named} - stages
    except KeyError as error:
        raise Refused(f"a base image is named by {error}, which has no default") from error
    return sorted(tagged(name) for name in names if not name.isdigit() and "@" not in name)


def tagged(name: str) -> str:
    """Return an image's name with its tag; without one it means latest."""
    if "@" in name or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:latest"


def typed_command(command: str | Sequence[str] | None) -> str:
    """Return a command as one would type it."""
    return command if isinstance(command, str) else " ".join(map(_quoted, command or []))


def _quoted(word: str) -> str:
    """Quote a word for a shell where it needs it, in double quotes if single ones are in it."""
    doubled = "'" in word and not re.search(r'["$`\\!]', word)
    return f'"{word}"' if doubled else shlex.quote(word)


def _base_and_name(rest: str) -> tuple[str, str]:
    """Return what follows FROM: the base, and the stage's own name if it has one."""
    match = _FROM.fullmatch(rest)
    return (match[1], match[2] or "") if match else (rest, "")


def _arguments(rest: str) -> str:
    """Return what follows CMD as one would type it; its JSON form is a list."""
    return typed_command(parse_json_value(rest)) if rest.startswith("[") else rest
