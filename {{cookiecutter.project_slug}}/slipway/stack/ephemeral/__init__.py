"""Ephemeral stacks: a copy of the repository with a name, ports and secrets of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path, PurePath
from string import Template
from typing import TYPE_CHECKING

from slipway.config import schema
from slipway.core import redaction
from slipway.core.errors import Refused
from slipway.stack.build import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slipway.config.schema import Variable
    from slipway.core.project import Project

NEEDS = ("api", "scheduler")
"""A repository without any of these services is made without this module."""


@dataclass(frozen=True)
class EphemeralStack:
    """An ephemeral stack: its name, and where its copy of the repository is."""

    source: Project
    """The repository it is copied from."""
    purpose: str
    """What it is for, in one word."""
    profile: str
    engine: str
    stamp: str
    token: str

    @property
    def name(self) -> str:
        """The name of the compose project, and the version of its images."""
        return f"{self.source.slug}-{self.purpose}-{self.stamp}-{self.token}"

    @property
    def folder(self) -> Path:
        """The folder of the copy."""
        return stacks_folder(self.source, self.purpose) / self.name

    @property
    def project(self) -> Project:
        """The copy."""
        return replace(self.source, root=self.folder)

    def values(self) -> dict[str, str]:
        """Return the stack's variables, with free ports and new secrets."""
        described = schema.read(self.source)
        made = own_variables(self, described, free_ports(len(described)), secrets.token_urlsafe)
        redaction.remember_secrets(
            made[item.name] for item in described if item.is_secret and item.name in made
        )
        return made


def plan_stack(source: Project, purpose: str, profile: str, engine: str) -> EphemeralStack:
    """Return a stack with a unique name; nothing is created yet."""
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return EphemeralStack(source, purpose, profile, engine, stamp, secrets.token_hex(2))


def stacks_folder(source: Project, purpose: str) -> Path:
    """Return the folder of all copies made for one purpose."""
    return source.run / purpose


def own_variables(
    scratch: EphemeralStack,
    described: Sequence[Variable],
    ports: Sequence[int],
    secret: Callable[[int], str],
) -> dict[str, str]:
    """Return variables that do not depend on this machine: own secrets and ports, else defaults."""
    free = iter(ports)
    own = {"APP_ENV": scratch.profile, "REGISTRY": images.LOCAL_REGISTRY, "VERSION": scratch.name}
    for item in described:
        if item.name.endswith("_PORT"):
            own[item.name] = str(next(free))
        elif item.secret and item.needed(scratch.profile):
            own[item.name] = secret(item.secret)
    where = (scratch.profile, scratch.engine)
    defaults = {item.name: item.default_in(*where) for item in described}
    known = {name: text for name, text in defaults.items() if text} | own
    filled = {name: Template(text).safe_substitute(known) for name, text in known.items()}
    return filled | own


@contextmanager
def unset_variables(names: Sequence[str]) -> Iterator[None]:
    """Remove variables of the live stack from the environment while the block runs."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def inherited_variables(source: Project, values: Mapping[str, str]) -> list[str]:
    """Name the variables that a stack would otherwise inherit from this machine."""
    return [item.name for item in schema.read(source) if item.name not in values]


def free_ports(count: int) -> list[int]:
    """Ask the kernel for free ports."""
    with ExitStack() as opened:
        probes = [opened.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Say whether .gitignore makes git ignore a path of the repository."""
    found = False
    for pattern in [".git", *patterns]:
        if _hit(path, pattern.removeprefix("!").rstrip("/")):
            found = not pattern.startswith("!")
    return found


def _hit(path: str, pattern: str) -> bool:
    if not pattern or pattern[0] in "#!":
        return False
    anchored = "/" in pattern
    return fnmatch(path if anchored else PurePath(path).name, pattern.lstrip("/"))


def copy_repository(root: Path, target: Path) -> None:
    """Copy the repository, without the files that git ignores.

    Raises:
        Refused: a file cannot be read or written.
    """
    patterns = (root / ".gitignore").read_text(encoding="utf-8").splitlines()

    def left_out(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(root)
        return {name for name in names if is_ignored((inside / name).as_posix(), patterns)}

    try:
        shutil.copytree(root, target, symlinks=True, ignore=left_out)
    except shutil.Error as error:  # raised at the end, with all that went wrong
        (_, _, why), *_ = error.args[0]
        raise Refused(f"the repository cannot be copied: {why}", "inv doctor") from error
