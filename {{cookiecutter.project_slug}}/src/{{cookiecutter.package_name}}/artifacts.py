"""The files of the models: what they are called, written, pointed at and checked before loading.

`<tier>_v<major>.<minor>_<day>.onnx` is a model, the JSON file beside it says what it is, and the
link `<tier>_current.onnx` names the one that is served. The JSON is written last: a model without
a complete one does not exist.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from .console import AppError, explain
from .definitions import Kind

INPUT = "features"
"""The one input of every model."""

VERSION_AND_DAY = r"_v(\d+)\.(\d+)_\d{4}-\d\d-\d\d\.onnx"


class ArtifactError(AppError):
    """A model's files are missing, incomplete, or not what they say they are."""


class Part(BaseModel):
    """Samples that were used together; keys are those of their newest rows."""

    count: int
    first: str
    last: str


class TargetMetrics(BaseModel):
    """How good the forecasts of one target were, on the held-out samples alone.

    `score` is the metric that `beats_baselines` compares; less is better.
    """

    kind: Kind
    unit: str
    score: str
    model: dict[str, float]
    baselines: dict[str, dict[str, float]]
    beats_baselines: bool


class Golden(BaseModel):
    """A few inputs [n, features] and what the model made of them, by target [n]."""

    features: list[list[float]]
    outputs: dict[str, list[float]]


class Metadata(BaseModel):
    """What the JSON beside a model says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: str
    version: str
    file: str
    sha256: str
    trained_at: datetime
    duration_seconds: float
    seed: int
    rows: dict[str, Part]
    features: list[str]
    targets: list[str]
    metrics: dict[str, TargetMetrics]
    libraries: dict[str, str]
    golden: Golden

    @property
    def beats_baselines(self) -> dict[str, bool]:
        """Tell for each target whether the model was better than every baseline."""
        return {name: metrics.beats_baselines for name, metrics in self.metrics.items()}


def sha256(content: bytes) -> str:
    """Return the hexadecimal digest of a file's content."""
    return hashlib.sha256(content).hexdigest()


def next_version(models: Path, tier: str, *, major: bool = False) -> str:
    """Return the version after the highest there is a file of, whole or not; v1.0 is the first."""
    name = re.compile(re.escape(tier) + VERSION_AND_DAY)
    found = (name.fullmatch(file.name) for file in models.glob(f"{tier}_v*.onnx"))
    taken = [(int(match[1]), int(match[2])) for match in found if match]
    if not taken:
        return "v1.0"
    highest, minor = max(taken)
    return f"v{highest + 1}.0" if major else f"v{highest}.{minor + 1}"


def write(models: Path, metadata: Metadata, content: bytes) -> None:
    """Write a model, then its metadata, then point the tier's link at it."""
    models.mkdir(parents=True, exist_ok=True)
    file = models / metadata.file
    replace(file, content)
    replace(file.with_suffix(".json"), (metadata.model_dump_json(indent=2) + "\n").encode())
    point(models, metadata)


def replace(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    with moved_to(file) as temporary, temporary.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


@contextmanager
def moved_to(path: Path) -> Iterator[Path]:
    """Give a path beside another to write to, and move what is there over the other at the end.

    Raises ArtifactError where the operating system refuses; nothing is left then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        error.filename = path
        raise ArtifactError(f"cannot write {explain(error)}") from error


def point(models: Path, metadata: Metadata) -> None:
    """Make a model the one its tier serves; the link is never missing in between."""
    with moved_to(link_of(models, metadata.tier)) as temporary:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(metadata.file)


def link_of(models: Path, tier: str) -> Path:
    """Return the path of the link that names what a tier serves."""
    return models / f"{tier}_current.onnx"


def current(models: Path, tier: str) -> Metadata | None:
    """Return the metadata of what a tier serves, None where nothing was trained.

    Raises ArtifactError where the link points at what does not exist, or cannot be read.
    """
    link = link_of(models, tier)
    try:
        name = link.readlink().name if link.is_symlink() else None
    except OSError as error:
        raise ArtifactError(f"cannot read {explain(error)}") from error
    return read(models, name) if name else None


def read(models: Path, name: str) -> Metadata:
    """Return a model's metadata.

    Raises ArtifactError where it is missing, incomplete, or another file's.
    """
    file = (models / name).with_suffix(".json")
    try:
        metadata = Metadata.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        reasons = {place_or_reason(details) for details in error.errors()}
        raise ArtifactError(f"{file} is not complete: {', '.join(sorted(reasons))}") from None
    if metadata.file != name:
        raise ArtifactError(f"{file} is about {metadata.file}, not about {name}")
    return metadata


def place_or_reason(details: ErrorDetails) -> str:
    """Return the key that is not as it should be; of what is no JSON at all, how it is not."""
    return ".".join(map(str, details["loc"])) or details["msg"]


def content(models: Path, metadata: Metadata) -> bytes:
    """Return the bytes of a model.

    Raises ArtifactError where they are not those that were written.
    """
    file = models / metadata.file
    try:
        found = file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from error
    if sha256(found) != metadata.sha256:
        raise ArtifactError(f"{file} was changed: its sha256 is not the one in its metadata")
    return found
