"""Values that a container engine shows: in images, in their history, and in how containers are set.

Whoever may ask the engine reads them there, and an image takes them wherever it is pulled to.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from slipway.config import compose_file, schema
from slipway.config import values as config_values
from slipway.config.schema import COMPOSE
from slipway.core import files, shell
from slipway.core.errors import Finding, Refused
from slipway.core.redaction import hidden, written
from slipway.stack.build.compose_cli import profile_composition
from slipway.stack.engines.containers import PROJECT, SERVICE, connect_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedReader

    import docker
    from docker.models.images import Image

    from slipway.core.project import Project

SOCKET = Path("/var/run/docker.sock")
BLOCK = 2**20
FILLED = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")
"""A variable in a compose file, and its default."""


VERSION = "/VERSION"
"""A file of a format that older engines write beside the layers."""
GZIP = b"\x1f\x8b"
UNREADABLE = (tarfile.TarError, EOFError, OSError, zlib.error, Refused)


class Exposure(NamedTuple):
    """A variable whose value somebody may read who should not."""

    name: str
    place: str
    service: str = ""
    """Whose container it is; nothing for an image."""


@dataclass
class ImageSearch:
    """What was found, and why not everything could be looked at."""

    found: list[Exposure] = field(default_factory=list)
    left_out: str = ""


def checks(
    project: Project, profile: str, secrets: Mapping[str, str], limit: float
) -> Iterator[Finding]:
    """Yield the secrets that a container engine shows; with `limit` seconds, look into layers too.

    An image carries them to wherever it goes. A container is replaced by the next deployment,
    which nothing found in one must stop.
    """
    variables = {item.name: item for item in schema.read(project)}
    found = search_images(
        project, config_values.read_values(project, profile, COMPOSE), secrets, limit
    )
    for name, place, service in found.found:
        detail = f"the value of {name} can be read in {place}"
        if not service:
            yield Finding("image", "fail", detail, f"inv env.rotate {name}: replace the value")
        elif service in variables[name].read_by:
            yield Finding("container", "warn", detail, "inv deploy.up hands it over as a file")
        else:
            fix = f"edit its compose file: {service} does not read {name}, by {schema.FILE}"
            yield Finding("container", "fail" if limit else "warn", detail, fix)
    if found.left_out:
        detail = f"not every layer was searched for secrets: {found.left_out}"
        fix = f"inv env.check --profile {profile}, which goes on from here"
        yield Finding("image", "warn", detail, fix)


def search_images(
    project: Project, values: Mapping[str, str], secrets: Mapping[str, str], limit: float
) -> ImageSearch:
    """Look for secrets in containers and in what images say of themselves.

    With seconds to spend, look into the layers of images too. Where no engine answers, nothing is.
    """
    said = ImageSearch()
    known = {name: value for name, value in secrets.items() if hidden(value)}
    if not known or not _may_answer():
        return said
    from docker.errors import DockerException  # noqa: PLC0415 - speed
    from requests.exceptions import RequestException  # noqa: PLC0415 - speed

    needles = {name: {*written(value)} for name, value in known.items()}
    try:
        client = connect_engine()
        stack = profile_composition(project.root, project.slug, values).name
        said.found += _of_containers(client, stack, needles)
        images = {
            name: there for name in built_images(project, values) for there in _image(client, name)
        }
        for name, image in images.items():
            said.found += _of_image(client, name, image, needles)
    except (DockerException, RequestException, Refused):
        return said
    if limit:
        LayerSearch(project, known, limit).look(images, said)
    return said


def _may_answer() -> bool:
    """Say whether there may be an engine, without asking for one."""
    return bool(os.environ.get("DOCKER_HOST")) or SOCKET.exists()


def built_images(project: Project, values: Mapping[str, str]) -> list[str]:
    """Return the images that this project builds, as the compose files of a profile name them."""
    file = compose_file.PROFILE_FILES[values["APP_ENV"]]
    entries = compose_file.read_services(project.root, file).values()
    ours = (str(entry["image"]) for entry in entries if "build" in entry and "image" in entry)
    return sorted(
        {FILLED.sub(lambda one: values.get(one[1]) or one[2] or "", name) for name in ours}
    )


def _image(client: docker.DockerClient, name: str) -> list[Image]:
    """Return an image, if it is there."""
    from docker.errors import ImageNotFound  # noqa: PLC0415 - speed

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


class HashedStream(io.RawIOBase):
    """A stream that knows the digest of what was read of it."""

    def __init__(self, content: IO[bytes] | gzip.GzipFile) -> None:
        """Take what is read."""
        self.content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """Read as the content is read."""
        block = self.content.read(size)
        self.digest.update(block)
        return block

    def name(self) -> str:
        """Read what is left, and return the name that a layer has by its content."""
        while self.read(BLOCK):
            pass
        return f"sha256:{self.digest.hexdigest()}"


class LayerSearch:
    """What images consist of; a layer that was searched for the same values stays as it was.

    Layers go by the digest of their content uncompressed, as images name them (OCI image
    specification, "Layer DiffID"), whatever an engine calls them.
    """

    def __init__(self, project: Project, secrets: Mapping[str, str], limit: float) -> None:
        """Take the values, and how many seconds there are."""
        self.root = project.root
        self.values = {name: value.encode() for name, value in secrets.items()}
        self.deadline = time.monotonic() + limit
        self.limit = limit
        self.path = project.run / "searched.json"
        self.digest = hashlib.sha256(repr(sorted(self.values.items())).encode()).hexdigest()
        self.clean, self.late = self._remembered()

    def _remembered(self) -> tuple[set[str], bool]:
        """Return the layers that hold none of the values, and whether time was up the last time.

        What was searched for other values tells nothing.
        """
        try:
            said = json.loads(self.path.read_text(encoding="utf-8"))
            same = said["values"] == self.digest
            return ({*said["layers"]}, bool(said["late"])) if same else (set(), False)
        except (OSError, ValueError, KeyError, TypeError):
            return set(), False

    def look(self, images: Mapping[str, Image], said: ImageSearch) -> None:
        """Look through the images that have a layer which was not searched.

        All are asked for at once: what they share, which is most of them, comes once. Where that
        took too long the last time, the smallest come first, one by one.
        """
        layers = {name: {*image.attrs["RootFS"]["Layers"]} for name, image in images.items()}
        new = sorted(
            (name for name in images if not layers[name] <= self.clean),
            key=lambda name: int(images[name].attrs["Size"]),
        )
        told = dict[str, set[tuple[str, str]]]()
        for names in [[name] for name in new] if self.late else [new]:
            if any(not layers[name] <= self.clean | told.keys() for name in names):
                self._within({name: layers[name] for name in names}, told)
        said.found += [
            Exposure(variable, f"{path} in a layer of the image {image}")
            for layer, found in told.items()
            for image in [name for name in new if layer in layers[name]] or [" or ".join(new)]
            for variable, path in sorted(found)
        ]
        left = [name for name in new if not layers[name] <= self.clean | told.keys()]
        self.late = bool(left) and time.monotonic() >= self.deadline
        if left:
            why = f"it takes longer than {self.limit:.0f} s" if self.late else "it cannot be read"
            said.left_out = f"{', '.join(left)}: {why}"
        self.remember()

    def remember(self) -> None:
        """Keep which layers are clean; no value can be told from it."""
        self.path.parent.mkdir(exist_ok=True)
        content = {"values": self.digest, "layers": sorted(self.clean), "late": self.late}
        files.replace_file(self.path, json.dumps(content))

    def _within(
        self, images: Mapping[str, set[str]], told: dict[str, set[tuple[str, str]]]
    ) -> None:
        """Read images; keep which layers are clean, and tell which variables are in the others.

        What is in one that cannot be read to its end is told under the name of its file.
        """
        layers = set[str]().union(*images.values())
        with suppress(*UNREADABLE):
            for blob, content in self._saved([*images]):
                if f"sha256:{blob.name.rpartition('/')[2]}" in self.clean:
                    continue
                layer, found = "", set[tuple[str, str]]()
                with suppress(*UNREADABLE):  # another one may be read
                    layer = self._of_blob(blob, content, found)
                if found:
                    told[layer or blob.name] = found
                else:
                    self.clean |= {layer} & layers

    def _saved(self, images: Sequence[str]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        """Yield the files that `docker save` writes, each to be read before the next."""
        left = self.deadline - time.monotonic()
        with (
            Path(os.devnull).open("rb") as nothing,
            shell.stream_output(
                ["docker", "save", *images], cwd=self.root, given=nothing, timeout=left
            ) as process,
            tarfile.open(fileobj=process.stdout, mode="r|", bufsize=BLOCK) as saved,
        ):
            for blob in saved:
                # Older engines link to a layer that was written before.
                if blob.isreg() and (content := saved.extractfile(blob)):
                    yield blob, content

    def _of_blob(
        self, blob: tarfile.TarInfo, content: IO[bytes], found: set[tuple[str, str]]
    ) -> str:
        """Add what is in a layer, and return its name once it was read to its end.

        What says what an image is was asked for already, and is no layer.
        """
        first = cast("BufferedReader", content).peek(2)[:2]
        if first[:1] in (b"", b"{", b"[") or blob.name.endswith(VERSION):
            return ""
        whole = HashedStream(gzip.GzipFile(fileobj=content) if first == GZIP else content)
        with tarfile.open(fileobj=cast("IO[bytes]", whole), mode="r|", bufsize=BLOCK) as layer:
            found.update(self._of_files(layer))
        return whole.name()

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
