"""The files of the models: their names, writing, links, and checks before loading.

`<tier>_v<major>.<minor>_<day>.<ext>` is a model, the JSON file beside it says what it is, a `.sig`
file, if there is one, who says so, and the link `<tier>_current.<ext>` names the one that is
served. The JSON is written last: a model without a complete one does not exist.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from . import signing
from .shared.console import AppError, explain
from .shared.definitions import Kind
from .shared.formats import LOADERS
from .signing import SignatureError

SIGNATURE = ".sig"
VERSION_AND_DAY = r"_v(\d+)\.(\d+)_\d{4}-\d\d-\d\d\.\w+"


class ArtifactError(AppError):
    """A model's files are missing, incomplete, or not what their metadata says."""


class Part(BaseModel):
    """Samples that were used together; keys are those of their newest rows."""

    count: int
    first: str
    last: str


class TargetMetrics(BaseModel):
    """Quality of the forecasts of one target, on the held-out samples only.

    `score` is the metric that `beats_baselines` compares; less is better.
    """

    kind: Kind
    unit: str
    score: str
    model: dict[str, float]
    baselines: dict[str, dict[str, float]]
    beats_baselines: bool


class Golden(BaseModel):
    """Sample inputs [n, features] and the model's outputs, by target [n]."""

    features: list[list[float]]
    outputs: dict[str, list[float]]


class Metadata(BaseModel):
    """The JSON next to a model."""

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
        return {name: metrics.beats_baselines for name, metrics in self.metrics.items()}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def next_version(models: Path, tier: str, *, major: bool = False) -> str:
    """Return the version after the highest of any file, complete or not; v1.0 is the first."""
    name = re.compile(re.escape(tier) + VERSION_AND_DAY)
    found = (name.fullmatch(file.name) for file in models.glob(f"{tier}_v*"))
    taken = [(int(match[1]), int(match[2])) for match in found if match]
    if not taken:
        return "v1.0"
    highest, minor = max(taken)
    return f"v{highest + 1}.0" if major else f"v{highest}.{minor + 1}"


def write(
    models: Path, metadata: Metadata, content: bytes, signing_key: Path | None = None
) -> None:
    """Write a model, its signature if there is a key, and its metadata.

    In this order, and synced to disk when this returns; no link names it yet.
    """
    models.mkdir(parents=True, exist_ok=True)
    file, said = models / metadata.file, (metadata.model_dump_json(indent=2) + "\n").encode()
    signature = signing.sign(said, signing_key) if signing_key else b""
    replace(file, content)
    if signature:
        replace(file.with_suffix(SIGNATURE), signature)
    replace(file.with_suffix(".json"), said)
    keep_names(models)


def keep_names(folder: Path) -> None:
    """Sync a folder, so that its names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise ArtifactError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def replace(file: Path, content: bytes) -> None:
    """Write a file atomically, so that it is whole or absent even after a power cut."""
    with moved_to(file) as temporary, temporary.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


@contextmanager
def moved_to(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and move it over the target at the end.

    Raises ArtifactError if the operating system refuses; nothing is left then.
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
    """Make a model the one its tier serves; the link is never missing."""
    link = models / f"{metadata.tier}_current{Path(metadata.file).suffix}"
    with moved_to(link) as temporary:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(metadata.file)
    keep_names(models)
    for other in models.glob(f"{metadata.tier}_current.*"):
        if other != link:
            other.unlink()


def pointed(models: Path, tier: str) -> str:
    """Return the name of the file that a tier's link names, empty if there is no link.

    A tier whose format changes has two links for a moment: the newer one counts.

    Raises ArtifactError if the folder cannot be read, or a link is none or leads out of it.
    """
    # By their names, and not from a list of the folder, which may leave out a file that is
    # renamed meanwhile. The second look is for a link that came after its name was looked at.
    names = [f"{tier}_current{suffix}" for suffix in LOADERS]
    try:
        found = links(models, names) or links(models, names)
        if not found:  # of a format that nothing here reads; who loads it says so
            found = links(models, [path.name for path in models.glob(f"{tier}_current.*")])
    except OSError as error:
        raise ArtifactError(f"cannot read {explain(error)}") from error
    return max(found)[1] if found else ""


def links(models: Path, names: list[str]) -> list[tuple[int, str]]:
    """Return when each of these links was made and what it names; those missing are left out."""
    found = []
    for link in map(models.joinpath, names):
        try:
            seen = os.lstat(link)
            if not stat.S_ISLNK(seen.st_mode):
                raise ArtifactError(f"{link} is not a link to a model")
            target = link.readlink()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if os.path.realpath(models / target.parent) != os.path.realpath(models):
            raise ArtifactError(f"{link} leads to {target}, which is not in {models}")
        found.append((seen.st_mtime_ns, target.name))
    return found


def current(models: Path, tier: str, public_key: Path | None = None) -> Metadata | None:
    """Return the metadata of what a tier serves, or None if nothing was trained.

    Raises ArtifactError if the link is dangling or the metadata cannot be read.
    """
    name = pointed(models, tier)
    return read(models, name, public_key) if name else None


def read(models: Path, name: str, public_key: Path | None = None) -> Metadata:
    """Return a model's metadata; with a public key, only if the signature is valid.

    Raises ArtifactError if it is missing, incomplete, of another file, or not signed.
    """
    file = (models / name).with_suffix(".json")
    try:
        said = file.read_bytes()
        if public_key:
            signing.verify(said, file.with_suffix(SIGNATURE), public_key)
        metadata = Metadata.model_validate_json(said)
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from error
    except SignatureError as error:
        raise ArtifactError(str(error)) from error
    except ValidationError as error:
        reasons = {place_or_reason(details) for details in error.errors()}
        raise ArtifactError(f"{file} is incomplete: {', '.join(sorted(reasons))}") from None
    if metadata.file != name:
        raise ArtifactError(f"{file} is metadata of {metadata.file}, not of {name}")
    return metadata


def place_or_reason(details: ErrorDetails) -> str:
    """Return the invalid key, or the error if it is not JSON."""
    return ".".join(map(str, details["loc"])) or details["msg"]


def beside(file: Path) -> list[str]:
    """Return the names of the models that a metadata file may describe."""
    found = file.parent.glob(f"{file.stem}.*")
    return sorted(path.name for path in found if path.suffix not in {".json", SIGNATURE})


def check(models: Path, metadata: Metadata) -> None:
    """Compare a model's checksum without reading all of it into memory; raises ArtifactError."""
    file = models / metadata.file
    try:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from error
    if found != metadata.sha256:
        raise ArtifactError(changed(file))


def changed(file: Path) -> str:
    """Say that a model is not what was written."""
    return f"{file} was changed: its sha256 is not the one in its metadata"


def content(models: Path, metadata: Metadata) -> bytes:
    """Return the bytes of a model.

    Raises ArtifactError if they have changed.
    """
    file = models / metadata.file
    try:
        found = file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from error
    if sha256(found) != metadata.sha256:
        raise ArtifactError(changed(file))
    return found
