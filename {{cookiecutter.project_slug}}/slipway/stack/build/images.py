"""Images: their names and labels, and how they are built and pushed."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.config import schema
from slipway.config import values as config_values
from slipway.core import shell
from slipway.core.errors import Refused
from slipway.core.files import parse_json, parse_json_value
from slipway.stack.build.compose_cli import Composition, profile_composition
from slipway.stack.build.dockerfile import dockerfile_path
from slipway.stack.engines.containers import connect_engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slipway.core.project import Project

DIRTY = "-dirty"
"""The mark of an image built from more than a commit."""
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
LOCAL_REGISTRY = "localhost"
"""The registry of images for this machine only."""
UNRELEASED = "dev"
"""The version of images that are built on the machine that runs them."""
BUILD_LIMIT = 3600.0
"""Seconds; a first build downloads everything."""


@dataclass(frozen=True)
class ImageOrigin:
    """What images are built from: it gives them their tags and labels."""

    version: str
    revision: str = ""
    """The commit; empty outside git."""
    created: str = ""
    source: str = ""
    label: str = ""
    """The version in their labels, where it differs from their tag."""

    @property
    def tags(self) -> list[str]:
        """The tags of every image: the version, and the commit where there is one."""
        if not self.revision:
            return [self.version]
        return [self.version, f"sha-{short_revision(self.revision)}"]

    @property
    def variables(self) -> dict[str, str]:
        """The variables that compose files pass on as build arguments."""
        return {
            "CREATED": self.created,
            "REVISION": self.revision,
            "SOURCE": self.source,
            "VERSION": self.label or self.version,
        }


@dataclass(frozen=True)
class BuildTarget:
    """An image that the compose files build."""

    service: str
    repository: str
    """Its name without the tag."""
    dockerfile: str

    def references(self, origin: ImageOrigin) -> list[str]:
        """Return every name that the image is tagged with."""
        return [f"{self.repository}:{tag}" for tag in origin.tags]


def image_origin(root: Path, version: str = "") -> ImageOrigin:
    """Ask git for the commit; uncommitted changes mark the version and the revision as dirty.

    The same tree gives the same answer, and so the same images, whenever they are built: only a
    commit has a time.

    Raises:
        Refused: the version cannot be a tag.
    """
    version = version or declared_version(root)
    if not TAG.fullmatch(version):
        fix = "letters, digits, dots, dashes and underscores, such as 1.2.0"
        raise Refused(f"{version!r} cannot be the tag of an image", fix, code=2)
    tracked = _git(root, "ls-files", "--error-unmatch", "Dockerfile")
    revision = _git(root, "rev-parse", "HEAD") if tracked else ""
    if not revision:
        return ImageOrigin(f"{version}{DIRTY}")
    source = remote_url(_git(root, "remote", "get-url", "origin"))
    if _git(root, "status", "--porcelain", "--", "."):
        return ImageOrigin(f"{version}{DIRTY}", f"{revision}{DIRTY}", source=source)
    return ImageOrigin(version, revision, _git(root, "show", "-s", "--format=%cI", "HEAD"), source)


def with_label(source: ImageOrigin, version: str) -> ImageOrigin:
    """Put another version into the labels than into the tags; a dirty tree marks both."""
    mark = DIRTY if source.version.endswith(DIRTY) else ""
    return replace(source, label=f"{version}{mark}") if version else source


def short_revision(revision: str) -> str:
    """Return the short form of a commit, with the mark if more than it was built."""
    return revision[:7] + (DIRTY if revision.endswith(DIRTY) else "")


def pulled_from_registry(values: Mapping[str, str]) -> bool:
    """Say whether a deployment pulls its images: whether its variables name a registry and a version."""
    version, registry = values.get("VERSION", UNRELEASED), values.get("REGISTRY", LOCAL_REGISTRY)
    return version != UNRELEASED and not is_local_only(registry)


def is_local_only(registry: str) -> bool:
    """Say whether a registry is this machine: nothing is pushed to it, or pulled from it."""
    return f"{registry}/".startswith(f"{LOCAL_REGISTRY}/")


def pull_advice(version: str, registry: str) -> str:
    """Say what to type if a version cannot be pulled."""
    host = registry.partition("/")[0]
    push = f"inv build.push --tag {version.removesuffix(DIRTY)}"
    here = f"VERSION={UNRELEASED} inv deploy.up"
    return f"push it: {push}; log in: docker login {host}; or build it here: {here}"


def declared_version(root: Path) -> str:
    """Return the version in pyproject.toml, in a form that a tag allows."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"]).replace("+", "-")


def remote_url(remote: str) -> str:
    """Return the web address of a git remote, without credentials."""
    if match := re.fullmatch(r"[\w.-]+@([\w.-]+):(.+)", remote):
        return f"https://{match[1]}/{match[2].removesuffix('.git')}"
    parts = urlsplit(remote)
    if parts.scheme not in ("http", "https", "ssh") or not parts.hostname:
        return ""
    plain = parts.scheme if parts.scheme != "ssh" else "https"
    port = f":{parts.port}" if parts.port and parts.scheme != "ssh" else ""
    return f"{plain}://{parts.hostname}{port}{parts.path.removesuffix('.git')}"


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; nothing outside a repository, or without git."""
    try:
        return shell.read(["git", *arguments], cwd=root).strip()
    except Refused:
        return ""


def build_variables(project: Project, profile: str) -> dict[str, str]:
    """Return the variables that compose files need to be read; secrets are left out of builds."""
    unset = {item.name: "unset" for item in config_values.missing_variables(project, profile)}
    secret = {item.name: "unset" for item in schema.read(project) if item.is_secret}
    return unset | config_values.read_values(project, profile) | secret


def read_targets(printed: str) -> list[BuildTarget]:
    """Read the output of `docker buildx bake --print`."""
    found: dict[str, dict[str, Any]] = parse_json(printed)["target"]
    return [
        BuildTarget(
            name, entry["tags"][0].rpartition(":")[0], dockerfile_path(entry, Path()).as_posix()
        )
        for name, entry in found.items()
    ]


def choose_targets(asked: Iterable[str], there: Sequence[BuildTarget]) -> list[BuildTarget]:
    """Return the targets of the services asked for, or all.

    An image that services share is built once.

    Raises:
        Refused: there is no such service, or it has no image of its own.
    """
    names = {item.service: item for item in there}
    asked = [*asked] or [*names]
    for name in asked:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose one of: {', '.join(names)}"
            raise Refused(f"no image is built for the service {name!r}", hint, code=2)
    return [*{names[name].repository: names[name] for name in reversed(asked)}.values()][::-1]


def refuse_local_only(wanted: Iterable[BuildTarget]) -> None:
    """Refuse to push images that are for this machine only.

    Raises:
        Refused: some are.
    """
    if any(is_local_only(item.repository) for item in wanted):
        fix = "set REGISTRY in the environment or the env file, such as registry.example.org/team"
        raise Refused("there is no registry to push to", fix, code=2)


def bake_arguments(
    wanted: Iterable[BuildTarget], origin_: ImageOrigin, *, push: bool = False, attest: bool = False
) -> list[str]:
    """Build the arguments of `docker buildx bake`: what to build, its tags, and where it goes."""
    wanted = [*wanted]
    words = ["--push"] if push else ["--load"]
    # mode=min: mode=max would record every build argument.
    words += ["--sbom=true", "--provenance=mode=min"] if attest else []
    tags = [
        f"--set={item.service}.tags={name}" for item in wanted for name in item.references(origin_)
    ]
    return [*words, *tags, *(item.service for item in wanted)]


def can_attest(builder: str, driver_status: Iterable[Sequence[str]]) -> bool:
    """Say whether a builder can make SBOMs and provenance.

    The engine's own builder needs containerd's image store. `builder` is what `docker buildx inspect`
    prints, the status that of `docker info`.
    """
    driver = re.search(r"^Driver:\s*(\S+)", builder, flags=re.MULTILINE)
    if driver and driver[1] != "docker":
        return True
    return any("io.containerd.snapshotter" in value for _, value in driver_status)


def pushed_digests(metadata: str) -> dict[str, str]:
    """Read the digest of each service's pushed image from bake's metadata file."""
    found: dict[str, Any] = parse_json(metadata)
    return {
        name: entry["containerimage.digest"]
        for name, entry in found.items()
        if isinstance(entry, dict) and "containerimage.digest" in entry
    }


def builder_attests(root: Path) -> bool:
    """Ask the current builder whether it can make SBOMs and provenance."""
    builder = shell.read(["docker", "buildx", "inspect"], cwd=root)
    status = shell.read(["docker", "info", "--format", "{{json .DriverStatus}}"], cwd=root)
    return can_attest(builder, parse_json_value(status) or [])


def registry_digest(reference: str) -> str:
    """Ask the registry, through the container engine, for the digest a name has now.

    Raises:
        Refused: the engine or the registry does not answer, or there is no such image.
    """
    from docker.errors import DockerException  # noqa: PLC0415 - speed: slow to import, rarely used

    try:
        return str(connect_engine().images.get_registry_data(reference).id)
    except DockerException as error:
        raise Refused(
            f"{reference}: its registry gives no digest: {error}", "inv doctor"
        ) from error


def refuse_other_digests(
    wanted: Iterable[BuildTarget], origin_: ImageOrigin, pushed: Mapping[str, str]
) -> None:
    """Check that every pushed name has its digest in the registry.

    Raises:
        Refused: one has another.
    """
    for item in wanted:
        for name in item.references(origin_):
            there = registry_digest(name)
            if there != pushed.get(item.service):
                raise Refused(f"{name} is {there} in the registry, not {pushed.get(item.service)}")


@dataclass(frozen=True)
class ImageBuild:
    """Builds the images of one profile's compose files."""

    project: Project
    composition: Composition
    environment: Mapping[str, str]
    origin: ImageOrigin

    def targets(self) -> list[BuildTarget]:
        """Return every image that the compose files build."""
        command = self.composition.bake("--print")
        said = shell.read(command, cwd=self.project.root, env=self.environment)
        return read_targets(said)

    def run(
        self, wanted: Iterable[BuildTarget], *, push: bool = False, attest: bool = False
    ) -> str:
        """Build all in parallel, printing progress; return bake's metadata."""
        metadata = self.project.run / "build.json"
        metadata.parent.mkdir(exist_ok=True)
        options = ["--metadata-file", str(metadata)]
        command = self.composition.bake(
            *options, *bake_arguments(wanted, self.origin, push=push, attest=attest)
        )
        shell.run(command, cwd=self.project.root, env=self.environment, timeout=BUILD_LIMIT)
        return metadata.read_text(encoding="utf-8")


def prepare_build(project: Project, profile: str, version: str = "", label: str = "") -> ImageBuild:
    """Gather what a build of a profile's images needs, without asking the container engine."""
    source = with_label(image_origin(project.root, version), label)
    values = build_variables(project, profile)
    files = profile_composition(project.root, project.slug, values)
    return ImageBuild(project, files, values | source.variables, source)
