"""Secrets that a container engine shows: in images, their history and the settings of containers.

Anyone with access to the engine can read them there, and an image takes them wherever it is pulled.
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
from slipway.core.redaction import encoded_forms, is_maskable
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
"""A file that older engines write beside the layers."""
GZIP = b"\x1f\x8b"
UNREADABLE = (tarfile.TarError, EOFError, OSError, zlib.error, Refused)


class Exposure(NamedTuple):
    """A place where the value of a variable can be read."""

    name: str
    place: str
    service: str = ""
    """The container's service; empty for an image."""


@dataclass
class ImageSearch:
    """What was found, and why something was not searched."""

    found: list[Exposure] = field(default_factory=list)
    left_out: str = ""


def checks(
    project: Project, profile: str, secrets: Mapping[str, str], limit: float
) -> Iterator[Finding]:
    """Yield the secrets that a container engine shows; with `limit` seconds, look into layers too.

    An image takes them wherever it goes. A container is replaced by the next deployment, so what is
    found in one must not stop that.
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
            yield Finding(
                "container", "warn", detail, "run inv deploy.up, which hands it over as a file"
            )
        else:
            fix = f"edit its compose file: {service} does not read {name} ({schema.FILE})"
            yield Finding("container", "fail" if limit else "warn", detail, fix)
    if found.left_out:
        detail = f"some layers were not searched for secrets: {found.left_out}"
        fix = f"inv env.check --profile {profile}, which continues the search"
        yield Finding("image", "warn", detail, fix)


def search_images(
    project: Project, values: Mapping[str, str], secrets: Mapping[str, str], limit: float
) -> ImageSearch:
    """Search containers, and the configuration of images, for secrets.

    With a `limit` above 0, layers are searched too, for so many seconds. Without an engine, nothing
    is found.
    """
    said = ImageSearch()
    known = {name: value for name, value in secrets.items() if is_maskable(value)}
    if not known or not _may_answer():
        return said
    from docker.errors import DockerException  # noqa: PLC0415 - speed
    from requests.exceptions import RequestException  # noqa: PLC0415 - speed

    needles = {name: {*encoded_forms(value)} for name, value in known.items()}
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
    """Tell whether there may be an engine, without asking it."""
    return bool(os.environ.get("DOCKER_HOST")) or SOCKET.exists()


def built_images(project: Project, values: Mapping[str, str]) -> list[str]:
    """Return the names of the images that a profile's compose files build."""
    file = compose_file.PROFILE_FILES[values["APP_ENV"]]
    entries = compose_file.read_services(project.root, file).values()
    ours = (str(entry["image"]) for entry in entries if "build" in entry and "image" in entry)
    return sorted(
        {FILLED.sub(lambda one: values.get(one[1]) or one[2] or "", name) for name in ours}
    )


def _image(client: docker.DockerClient, name: str) -> list[Image]:
    """Return an image, if it exists."""
    from docker.errors import ImageNotFound  # noqa: PLC0415 - speed

    try:
        return [client.images.get(name)]
    except ImageNotFound:
        return []


def _of_containers(
    client: docker.DockerClient, stack: str, needles: Mapping[str, set[str]]
) -> Iterator[Exposure]:
    """Search what `docker inspect` shows of each container of a stack."""
    ours = {"label": f"{PROJECT}={stack}"}
    for item in client.containers.list(all=True, filters=ours, ignore_removed=True):
        for name, part in _held(item.attrs, needles):
            place = f"{part} of the container {item.name}"
            yield Exposure(name, place, item.labels.get(SERVICE, ""))


def _of_image(
    client: docker.DockerClient, name: str, image: Image, needles: Mapping[str, set[str]]
) -> Iterator[Exposure]:
    """Search an image's configuration and the commands that built it."""
    facts = {**image.attrs, "History": client.api.history(image.id)}
    for variable, part in _held(facts, needles):
        yield Exposure(variable, f"{part} of the image {name}")


def _held(attrs: Mapping[str, Any], needles: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yield each variable whose value the engine shows, and in which part."""
    whole = json.dumps(attrs)
    for name, forms in needles.items():
        if _among(forms, whole):
            texts = ((part, json.dumps(held)) for part, held in _parts(attrs))
            yield name, next((part for part, text in texts if _among(forms, text)), "the settings")


def _among(forms: set[str], text: str) -> bool:
    return any(form in text for form in forms)


def _parts(attrs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of what the engine shows, by the name that a person would use."""
    config = attrs.get("Config") or {}
    yield "the environment", config.get("Env")
    yield "the command", [attrs.get("Args"), config.get("Cmd"), config.get("Entrypoint")]
    yield "the labels", config.get("Labels")
    yield "the health check", [config.get("Healthcheck"), attrs.get("State")]
    yield "the mounts", [attrs.get("Mounts"), attrs.get("HostConfig")]
    yield "the history", attrs.get("History")


class HashedStream(io.RawIOBase):
    """A stream that hashes what is read from it."""

    def __init__(self, content: IO[bytes] | gzip.GzipFile) -> None:
        """Take the stream to read from."""
        self.content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """Read a block, and hash it."""
        block = self.content.read(size)
        self.digest.update(block)
        return block

    def name(self) -> str:
        """Read the rest, and return the digest that names a layer."""
        while self.read(BLOCK):
            pass
        return f"sha256:{self.digest.hexdigest()}"


class LayerSearch:
    """Searches the layers of images; a layer that was searched for the same values is not again.

    A layer is known by the digest of its uncompressed content (OCI image specification, "Layer
    DiffID"), whatever an engine calls it.
    """

    def __init__(self, project: Project, secrets: Mapping[str, str], limit: float) -> None:
        """Take the values, and the seconds to spend."""
        self.root = project.root
        self.values = {name: value.encode() for name, value in secrets.items()}
        self.deadline = time.monotonic() + limit
        self.limit = limit
        self.path = project.run / "searched.json"
        self.digest = hashlib.sha256(repr(sorted(self.values.items())).encode()).hexdigest()
        self.clean, self.late = self._remembered()

    def _remembered(self) -> tuple[set[str], bool]:
        """Return the layers without any of the values, and whether time ran out the last time.

        A search for other values says nothing about these.
        """
        try:
            said = files.read_json(self.path)
            same = said["values"] == self.digest
            return ({*said["layers"]}, bool(said["late"])) if same else (set(), False)
        except (OSError, ValueError, KeyError, TypeError):
            return set(), False

    def look(self, images: Mapping[str, Image], said: ImageSearch) -> None:
        """Search the images that have an unsearched layer.

        All are saved at once, as most layers are shared. If that took too long the last time, they
        are saved one by one, the smallest first.
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
        """Keep which layers are clean; the file reveals no value."""
        self.path.parent.mkdir(exist_ok=True)
        content = {"values": self.digest, "layers": sorted(self.clean), "late": self.late}
        files.replace_file(self.path, json.dumps(content))

    def _within(
        self, images: Mapping[str, set[str]], told: dict[str, set[tuple[str, str]]]
    ) -> None:
        """Search images; note the clean layers, and the variables found in the others.

        What is found in a layer that cannot be read to its end goes by the name of its file.
        """
        layers = set[str]().union(*images.values())
        with suppress(*UNREADABLE):
            for blob, content in self._saved([*images]):
                if f"sha256:{blob.name.rpartition('/')[2]}" in self.clean:
                    continue
                layer, found = "", set[tuple[str, str]]()
                with suppress(*UNREADABLE):  # another one may be readable
                    layer = self._of_blob(blob, content, found)
                if found:
                    told[layer or blob.name] = found
                else:
                    self.clean |= {layer} & layers

    def _saved(self, images: Sequence[str]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        """Yield the files that `docker save` writes; each has to be read before the next."""
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
        """Add what is found in a layer, and return the layer's name once it was read to its end.

        The configuration of an image was searched before, and is not a layer.
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
        """Return the variables whose values are in a file; a value may span two blocks."""
        longest = max(map(len, self.values.values()))
        found, end = set(), b""
        while block := content.read(BLOCK):
            seen = end + block
            found |= {name for name, value in self.values.items() if value in seen}
            end = seen[-longest:]
        return found
