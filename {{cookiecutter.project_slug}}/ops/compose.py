"""Command lines of `docker compose`: built here, run elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOCK = "compose.lock.yaml"
"""Digests of the images that others publish: on top of every profile, where it exists."""
APPLICATION_USER = 10001
"""Who the application is in a container, when whoever deploys is root (Dockerfile)."""


@dataclass(frozen=True)
class Composition:
    """The compose files of one profile, and the name that its containers go by."""

    name: str
    files: tuple[str, ...]

    def command(self, *arguments: str) -> list[str]:
        """Build a command of `docker compose` for a working directory that is the root."""
        files = [word for file in self.files for word in ("--file", file)]
        return ["docker", "compose", "--project-name", self.name, *files, *arguments]

    def bake(self, *arguments: str) -> list[str]:
        """Build a command of `docker buildx bake` that builds what these files need."""
        files = [word for file in self.files for word in ("--file", file)]
        return ["docker", "buildx", "bake", *files, *arguments]


def composition(
    root: Path, name: str, values: Mapping[str, str], *, gpu: bool = False
) -> Composition:
    """Return what a profile is composed of; dev is plain compose.yaml."""
    profile = values["APP_ENV"]
    first = "compose.yaml" if profile == "dev" else f"compose.{profile}.yaml"
    extra = ["compose.gpu.yaml"] if gpu else []
    lock = [LOCK] if (root / LOCK).is_file() else []
    return Composition(os.environ.get("COMPOSE_PROJECT_NAME") or name, (first, *extra, *lock))


def application_user() -> int:
    """Return the user that writes models: the one who deploys, but never root."""
    return os.getuid() or APPLICATION_USER
