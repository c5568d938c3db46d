"""Images from elsewhere, and the lock file of their digests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from slipway.config.compose_file import read_yaml
from slipway.config.schema import PROFILES
from slipway.core import shell
from slipway.core.files import parse_json
from slipway.stack.build import images
from slipway.stack.build.compose_cli import LOCK, Composition, profile_composition
from slipway.stack.build.dockerfile import base_images, dockerfile_path, tagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from slipway.core.project import Project

HEAD = """\
# Written by `inv build.pin`: the digest that each image's name stood for. Builds take base images
# from here, deployments the rest. `inv build.pin --check` says what has moved since. Commit this file.
"""


@dataclass(frozen=True)
class ExternalImages:
    """The images from elsewhere that a repository uses, by name and tag."""

    bases: Mapping[str, tuple[str, ...]]
    """The base images of each service's Dockerfile."""
    services: Mapping[str, str]
    """The image of each service that is not built here."""
    some: tuple[str, ...] = ()
    """Services of some profiles only: the lock file is on top of every profile, so it leaves them out."""

    @property
    def names(self) -> list[str]:
        """Every name, once."""
        bases = (name for found in self.bases.values() for name in found)
        return sorted({*bases, *self.services.values()})


def external_images(models: Iterable[Mapping[str, Any]], root: Path) -> ExternalImages:
    """Return the images used by the services that every profile's model has."""
    all_services = [model["services"] for model in models]
    shared = set.intersection(*(set(services) for services in all_services))
    some = set().union(*all_services) - shared
    built: dict[str, tuple[str, ...]] = {}
    ours: set[str] = set()
    for name, entry in all_services[0].items():
        if "build" in entry:
            ours.add(entry["image"])
            file = dockerfile_path(entry["build"], root)
            built[name] = tuple(base_images(file.read_text(encoding="utf-8")))
    others = {
        name: tagged(entry["image"])
        for name, entry in all_services[0].items()
        if name in shared and "build" not in entry and entry["image"] not in ours
    }
    bases = {name: found for name, found in built.items() if name in shared}
    return ExternalImages(bases, others, tuple(sorted(some)))


def lock_content(images_: ExternalImages, digest: Mapping[str, str]) -> dict[str, Any]:
    """Build the content of the lock file: a compose file that goes on top of a profile's."""
    services: dict[str, Any] = {
        name: {"build": {"additional_contexts": _contexts(bases, digest)}}
        for name, bases in images_.bases.items()
        if bases
    }
    services |= {
        name: {"image": f"{image}@{digest[image]}"} for name, image in images_.services.items()
    }
    return {"services": dict(sorted(services.items()))}


def _contexts(bases: Iterable[str], digest: Mapping[str, str]) -> dict[str, str]:
    """Name each base as BuildKit looks it up: without `latest`."""
    return {name.removesuffix(":latest"): f"docker-image://{name}@{digest[name]}" for name in bases}


def lock_text(content: Mapping[str, Any]) -> str:
    """Return the text of the lock file."""
    return HEAD + yaml.safe_dump(dict(content), sort_keys=False, width=1000)


def write_lock(path: Path, text: str) -> None:
    """Replace the lock file as a whole."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def locked_contexts(root: Path) -> dict[str, str]:
    """Return the build context of each locked base image; empty where nothing is locked."""
    path = root / LOCK
    held = read_yaml(path) if path.is_file() else {}
    builds = [entry.get("build", {}) for entry in held.get("services", {}).values()]
    found = [build.get("additional_contexts", {}) for build in builds]
    return {name: place for each in found for name, place in each.items()}


def locked_digests(text: str) -> dict[str, str]:
    """Read the digest of each image from a lock file."""
    plain = text.replace("docker-image://", "")
    return dict(sorted(re.findall(r"([\w./:-]+)@(sha256:[0-9a-f]{64})", plain)))


def moved_images(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say how images differ from the lock file."""
    said = [f"{name} is not in {LOCK}" for name in sorted(now.keys() - before.keys())]
    said += [f"{name} is no longer used" for name in sorted(before.keys() - now.keys())]
    return said + [
        f"{name} has moved from {short_digest(before[name])} to {short_digest(now[name])}"
        for name in sorted(now.keys() & before.keys())
        if now[name] != before[name]
    ]


def short_digest(digest: str) -> str:
    """Return the part of a digest that people compare."""
    return digest[: len("sha256:") + 12]


def images_in_use(project: Project) -> ExternalImages:
    """Return the images that all profiles use, by their compose files and Dockerfiles."""
    models = []
    for profile in PROFILES:
        values = images.build_variables(project, profile)
        files = profile_composition(project.root, project.slug, values)
        unlocked = Composition(files.name, tuple(name for name in files.files if name != LOCK))
        command = unlocked.command("config", "--format", "json")
        models.append(parse_json(shell.read(command, cwd=project.root, env=values)))
    return external_images(models, project.root)
