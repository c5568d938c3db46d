"""Values that a container engine shows: in images, in their history, and in how containers are set.

Whoever may ask the engine reads them there, and an image takes them wherever it is pulled to.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from ops import files, inventory, shell
from ops.compose import composition
from ops.errors import Refused
from ops.masking import hidden, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedReader

    import docker
    from docker.models.images import Image

    from ops.project import Project

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
SOCKET = Path("/var/run/docker.sock")
ANSWER = 5
"""Seconds that one question to the engine may take."""
BLOCK = 2**20
FILLED = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")
"""A variable in a compose file, and its default."""


MANIFEST, VERSION = "manifest.json", "/VERSION"
"""What `docker save` writes beside the layers: who owns them, and a format of older engines."""


class Exposure(NamedTuple):
    """A variable whose value somebody may read who should not."""

    name: str
    place: str
    service: str = ""
    """Whose container it is; nothing for an image."""


@dataclass
class Search:
    """What was found, and why not everything could be looked at."""

    found: list[Exposure] = field(default_factory=list)
    left_out: str = ""


def search(
    project: Project, values: Mapping[str, str], secrets: Mapping[str, str], limit: float
) -> Search:
    """Look for secrets in containers and in what images say of themselves.

    With seconds to spend, look into the layers of images too. Where no engine answers, nothing is.
    """
    said = Search()
    known = {name: value for name, value in secrets.items() if hidden(value)}
    if not known or not _may_answer():
        return said
    import docker  # noqa: PLC0415 - heavy, and many have no engine
    from docker.errors import DockerException  # noqa: PLC0415 - the same
    from requests.exceptions import RequestException  # noqa: PLC0415 - the same

    needles = {name: {*written(value)} for name, value in known.items()}
    try:
        client = docker.from_env(timeout=ANSWER)
        stack = composition(project.root, project.slug, values).name
        said.found += _of_containers(client, stack, needles)
        images = {name: there for name in named(project, values) for there in _image(client, name)}
        for name, image in images.items():
            said.found += _of_image(client, name, image, needles)
    except (DockerException, RequestException, Refused):
        return said
    if limit:
        Layers(project, known, limit).look(images, said)
    return said


def _may_answer() -> bool:
    """Say whether there may be an engine, without asking for one."""
    return bool(os.environ.get("DOCKER_HOST")) or SOCKET.exists()


def named(project: Project, values: Mapping[str, str]) -> list[str]:
    """Return the images that this project builds, as the compose files of a profile name them."""
    entries = inventory.composed(project.root, inventory.files()[values["APP_ENV"]]).values()
    ours = (str(entry["image"]) for entry in entries if "build" in entry and "image" in entry)
    return sorted(
        {FILLED.sub(lambda one: values.get(one[1]) or one[2] or "", name) for name in ours}
    )


def _image(client: docker.DockerClient, name: str) -> list[Image]:
    """Return an image, if it is there."""
    from docker.errors import ImageNotFound  # noqa: PLC0415 - as above

    try:
        return [client.images.get(name)]
    except ImageNotFound:
        return []


def _of_containers(
    client: docker.DockerClient, stack: str, needles: Mapping[str, set[str]]
) -> Iterator[Exposure]:
    """Find what `docker inspect` shows of each container of a stack."""
    ours = {"label": f"{PROJECT}={stack}"}
    for item in client.containers.list(all=True, filters=ours, ignore_removed=True):
        for name, part in _held(item.attrs, needles):
            place = f"{part} of the container {item.name}"
            yield Exposure(name, place, item.labels.get(SERVICE, ""))


def _of_image(
    client: docker.DockerClient, name: str, image: Image, needles: Mapping[str, set[str]]
) -> Iterator[Exposure]:
    """Find what an image says of itself: how it is set, and the commands that it was made by."""
    facts = {**image.attrs, "History": client.api.history(image.id)}
    for variable, part in _held(facts, needles):
        yield Exposure(variable, f"{part} of the image {name}")


def _held(attrs: Mapping[str, Any], needles: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yield each variable whose value is in what the engine says, with the part that it is in."""
    whole = json.dumps(attrs)
    for name, forms in needles.items():
        if _among(forms, whole):
            texts = ((part, json.dumps(held)) for part, held in _parts(attrs))
            yield name, next((part for part, text in texts if _among(forms, text)), "the settings")


def _among(forms: set[str], text: str) -> bool:
    return any(form in text for form in forms)


def _parts(attrs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a person would look for in what the engine says, under its name."""
    config = attrs.get("Config") or {}
    yield "the environment", config.get("Env")
    yield "the command", [attrs.get("Args"), config.get("Cmd"), config.get("Entrypoint")]
    yield "the labels", config.get("Labels")
    yield "the health check", [config.get("Healthcheck"), attrs.get("State")]
    yield "the mounts", [attrs.get("Mounts"), attrs.get("HostConfig")]
    yield "the history", attrs.get("History")


class Layers:
    """What images consist of; a layer that was searched for the same values stays as it was."""

    def __init__(self, project: Project, secrets: Mapping[str, str], limit: float) -> None:
        """Take the values, and how many seconds there are."""
        self.root = project.root
        self.values = {name: value.encode() for name, value in secrets.items()}
        self.deadline = time.monotonic() + limit
        self.limit = limit
        self.path = project.run / "searched.json"
        self.digest = hashlib.sha256(repr(sorted(self.values.items())).encode()).hexdigest()
        self.clean = self._remembered()

    def _remembered(self) -> set[str]:
        """Return the layers that hold none of the values; those of other values tell nothing."""
        try:
            said = json.loads(self.path.read_text(encoding="utf-8"))
            return {*said["layers"]} if said["values"] == self.digest else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def look(self, images: Mapping[str, Image], said: Search) -> None:
        """Look through the images that have a layer which was not searched."""
        layers = {name: {*image.attrs["RootFS"]["Layers"]} for name, image in images.items()}
        if new := {name: held for name, held in layers.items() if not held <= self.clean}:
            self._within(new, said)
        self.remember()

    def remember(self) -> None:
        """Keep which layers are clean; no value can be told from it."""
        self.path.parent.mkdir(exist_ok=True)
        content = {"values": self.digest, "layers": sorted(self.clean)}
        files.replaced(self.path, json.dumps(content))

    def _within(self, images: Mapping[str, set[str]], said: Search) -> None:
        """Say which values are in files of images, and keep which layers hold none.

        All are asked for at once: what they share, which is most of them, comes once.
        """
        names, layers = sorted(images), set[str]().union(*images.values())
        found, owners = list[tuple[str, str, str]](), dict[str, list[str]]()
        try:
            for blob, content in self._saved(names):
                if blob.name == MANIFEST:
                    owners = _owners(content)
                elif (layer := f"sha256:{blob.name.rpartition('/')[2]}") not in self.clean:
                    before = len(found)
                    for variable, path in self._of_blob(blob, content):
                        found.append((blob.name, variable, path))
                    self.clean |= {layer} & layers if len(found) == before else set()
            # Some engines call layers by other names than images do.
            self.clean |= set() if found else layers
        except (tarfile.TarError, EOFError, OSError, Refused):
            late = time.monotonic() >= self.deadline
            why = f"it takes longer than {self.limit:.0f} s" if late else "it cannot be read"
            if left := [name for name in names if not images[name] <= self.clean]:
                said.left_out = f"{', '.join(left)}: {why}"
        said.found += [
            Exposure(variable, f"{path} in a layer of the image {image}")
            for name, variable, path in found
            for image in owners.get(name) or [" or ".join(names)]
        ]

    def _saved(self, images: Sequence[str]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        """Yield the files that `docker save` writes, each to be read before the next.

        Raises EOFError where it ends before it says, after the layers, whose they are.
        """
        left, whole = self.deadline - time.monotonic(), False
        with (
            Path(os.devnull).open("rb") as nothing,
            shell.streamed(
                ["docker", "save", *images], cwd=self.root, given=nothing, timeout=left
            ) as process,
            tarfile.open(fileobj=process.stdout, mode="r|", bufsize=BLOCK) as saved,
        ):
            for blob in saved:
                # Older engines link to a layer that was written before.
                if blob.isreg() and (content := saved.extractfile(blob)):
                    whole |= blob.name == MANIFEST
                    yield blob, content
        if not whole:
            raise EOFError

    def _of_blob(self, blob: tarfile.TarInfo, content: IO[bytes]) -> Iterator[tuple[str, str]]:
        """Yield what is in a layer; what says what an image is was asked for already."""
        first = cast("BufferedReader", content).peek(1)[:1]
        if first not in (b"", b"{", b"[") and not blob.name.endswith(VERSION):
            with tarfile.open(fileobj=content, mode="r|*", bufsize=BLOCK) as layer:
                yield from self._of_files(layer)

    def _of_files(self, layer: tarfile.TarFile) -> Iterator[tuple[str, str]]:
        for item in layer:
            if item.isreg() and (content := layer.extractfile(item)):
                for name in self._of_file(content):
                    yield name, f"/{item.name}"

    def _of_file(self, content: IO[bytes]) -> set[str]:
        """Name the variables whose values are in a file; one may be in two blocks."""
        longest = max(map(len, self.values.values()))
        found, end = set(), b""
        while block := content.read(BLOCK):
            seen = end + block
            found |= {name for name, value in self.values.items() if value in seen}
            end = seen[-longest:]
        return found


def _owners(manifest: IO[bytes]) -> dict[str, list[str]]:
    """Return the images that each layer is of, as the manifest of `docker save` says."""
    owners = dict[str, list[str]]()
    for image in json.load(manifest):
        for layer in image.get("Layers") or ():
            owners.setdefault(layer, []).extend(image.get("RepoTags") or ())
    return owners
