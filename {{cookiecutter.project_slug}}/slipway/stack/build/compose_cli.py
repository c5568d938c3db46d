"""Command lines of `docker compose`: built here, run elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK = "compose.lock.yaml"
"""Digests of images from elsewhere: on top of every profile's files, where it exists."""
KEYS = ("MODELS_PUBLIC_KEY", "MODELS_SIGNING_KEY")
"""Variables that name a file with a key for models, on this machine."""


@dataclass(frozen=True)
class Composition:
    """The compose files of one profile, and the name of its compose project."""

    name: str
    files: tuple[str, ...]

    def command(self, *arguments: str) -> list[str]:
        """Build a command of `docker compose`, to be run in the repository's folder."""
        files = [word for file in self.files for word in ("--file", file)]
        return ["docker", "compose", "--project-name", self.name, *files, *arguments]

    def bake(self, *arguments: str) -> list[str]:
        """Build a command of `docker buildx bake` over these files."""
        files = [word for file in self.files for word in ("--file", file)]
        return ["docker", "buildx", "bake", *files, *arguments]


def profile_composition(
    root: Path, name: str, values: Mapping[str, str], *, gpu: bool = False
) -> Composition:
    """Return the compose files of a profile; dev has plain compose.yaml."""
    profile = values["APP_ENV"]
    first = "compose.yaml" if profile == "dev" else f"compose.{profile}.yaml"
    extra = ["compose.gpu.yaml"] if gpu else []
    lock = [LOCK] if (root / LOCK).is_file() else []
    return Composition(os.environ.get("COMPOSE_PROJECT_NAME") or name, (first, *extra, *lock))


def key_options(given: Mapping[str, str]) -> list[str]:
    """Build the options that mount key files into a container, under the same variables.

    Raises:
        Refused: a variable names a file that does not exist.
    """
    words = []
    for name in KEYS:
        if path := given.get(name):
            file, there = Path(path).expanduser().absolute(), f"/run/keys/{name.lower()}.pem"
            if not file.is_file():
                raise Refused(f"{name} names {path}, which is not a file", f"unset {name}")
            words += [f"--volume={file}:{there}:ro", f"--env={name}={there}"]
    return words
