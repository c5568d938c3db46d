"""Model artifacts: the files of models/, their metadata, and what each tier serves.

`<tier>_v<major>.<minor>_<day>.<ext>` is an artifact and the `.json` beside it its metadata, written
last. `<tier>_current.<ext>` is a relative link to the one that is served: nothing else says so.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from slipway.core import files
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PART = re.compile(r"[^.].*_v\d+\.\d+_\d{4}-\d\d-\d\d\.\w+")
"""An artifact, its metadata or its signature."""
TEMPORARY = re.compile(r"\..+_(v\d+\.\d+_\d{4}-\d\d-\d\d|current)\.\w+\.\d+")
UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
"""What metadata raise that are JSON, and not what they should be."""
BESIDE = (".json", ".sig")
"""What belongs to an artifact: its metadata and its signature."""


@dataclass(frozen=True)
class Model:
    """One artifact: what its metadata file says, and whether its tier serves it."""

    tier: str
    version: str
    current: bool
    file: Path
    metadata: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """All that belongs to it, the metadata first: without them it does not exist."""
        beside = [self.file.with_suffix(suffix) for suffix in BESIDE]
        return [path for path in (*beside, self.file) if path.is_file()]


def list_models(folder: Path) -> list[Model]:
    """Return every artifact that has complete metadata, by tier and version, oldest first."""
    read = map(_model, folder.glob("*_v*.json"))
    found = (item for item in read if isinstance(item, Model))
    return sorted(found, key=lambda item: (item.tier, version_number(item.version)))


def unreadable_metadata(folder: Path) -> dict[str, str]:
    """Return the metadata files that cannot be read, and why."""
    read = {path.name: _model(path) for path in sorted(folder.glob("*_v*.json"))}
    return {name: item for name, item in read.items() if isinstance(item, str)}


def _model(path: Path) -> Model | str | None:
    """Read one metadata file; return what is wrong with it, or None if its artifact is missing."""
    try:
        said = files.read_json(path)
        tier, version, file = said["tier"], said["version"], path.with_name(said["file"])
        version_number(version)
        if not path.name.startswith(f"{tier}_v"):
            raise ValueError("its tier is not that of its name")
    except (OSError, *UNREADABLE) as error:
        return f"lacks {error}" if isinstance(error, KeyError) else f"cannot be read: {error}"
    if not file.is_file():
        return None
    return Model(tier, version, served_file(path.parent, tier) == file.name, file, said)


def version_number(version: str) -> tuple[int, ...]:
    """Return what versions are ordered by: v1.10 comes after v1.9.

    Raises:
        ValueError: it is no version.
    """
    return tuple(int(part) for part in version.lstrip("v").split("."))


def find_model(folder: Path, tier: str, version: str = "") -> Model:
    """Return one artifact: the named version, or what the tier serves when none is named.

    Raises:
        Refused: there is none; the message names what there is.
    """
    known = list_models(folder)
    wanted = version.lstrip("v")
    for model in known:
        if model.tier == tier and (
            model.version.lstrip("v") == wanted or (not wanted and model.current)
        ):
            return model
    names = ", ".join(f"{item.tier} {item.version}" for item in known) or "none"
    asked = version or f"(current: {served_file(folder, tier) or 'no link'})"
    what = f"there is no model {tier} {asked}; there are: {names}"
    raise Refused(what, "inv models.list")


def link_of_tier(folder: Path, tier: str) -> Path | None:
    """Return the link that says what a tier serves; None where there is none."""
    found = [path for path in folder.glob(f"{tier}_current.*") if path.is_symlink()]
    # Two are there for a moment when a tier changes its format: the newer one holds.
    return max(found, key=lambda path: path.lstat().st_mtime_ns, default=None)


def served_file(folder: Path, tier: str) -> str:
    """Return the name of the file that a tier's link names; empty where there is no link.

    Of a link that leads elsewhere than to a file of the folder, it is the whole target.
    """
    link = link_of_tier(folder, tier)
    target = link.readlink() if link else None
    if target is None:
        return ""
    inside = os.path.realpath(folder / target.parent) == os.path.realpath(folder)
    return target.name if inside and target.name not in ("", "..") else str(target)


def point_link(folder: Path, tier: str, file: str) -> None:
    """Make a file the one that a tier serves; an empty name takes the link away.

    Raises:
        OSError: the folder cannot be written; the tier serves what it did.
    """
    new = folder / f"{tier}_current{PurePath(file).suffix or '.onnx'}"
    if file:
        files.replace_link(new, file)
    for link in folder.glob(f"{tier}_current.*"):
        if not file or link.name != new.name:
            link.unlink()


def served_tiers(folder: Path) -> list[str]:
    """Return the tiers that serve something, or whose pointer says that they should."""
    names = (path.name for path in folder.glob("[!.]*_current.*"))
    return sorted({name.partition("_current.")[0] for name in names})


def score_summary(model: Model) -> dict[str, str]:
    """Return each target's score beside its best baseline, and the targets that do not beat it.

    Less is better in every score.
    """
    try:
        metrics: dict[str, Any] = model.metadata["metrics"]
        cells = {name: _beside(said) for name, said in metrics.items()}
        lost = [name for name, said in metrics.items() if not said["beats_baselines"]]
    except UNREADABLE:
        return {"beats baselines": "?"}
    return cells | {"beats baselines": f"not in {', '.join(lost)}" if lost else "yes"}


def _beside(said: dict[str, Any]) -> str:
    score = said["score"]
    baselines = {name: measured[score] for name, measured in said["baselines"].items()}
    best = min(baselines, key=baselines.__getitem__)
    return f"{score} {said['model'][score]:.3f} ({best} {baselines[best]:.3f})"


def metric_differences(old: Model, new: Model) -> Iterator[dict[str, object]]:
    """Return each metric of each target of two versions, side by side."""
    before, after = (_measured(item) for item in (old, new))
    for target in dict.fromkeys([*before, *after]):
        a, b = (said.get(target, {}) for said in (before, after))
        for metric in dict.fromkeys([*a, *b]):
            values = (a.get(metric), b.get(metric))
            change = None if values[0] is None or values[1] is None else values[1] - values[0]
            yield {
                "target": target,
                "metric": metric,
                old.version: values[0],
                new.version: values[1],
                "change": change if change is None else f"{change:+.3f}",
            }


def _measured(model: Model) -> dict[str, dict[str, float]]:
    """Return the metrics of each target, as far as they can be read."""
    try:
        return {name: dict(said["model"]) for name, said in model.metadata["metrics"].items()}
    except UNREADABLE:
        return {}


def metrics_problem(model: Model) -> str:
    """Say that the metrics of a version are not what they should be; nothing where they are."""
    return "" if _measured(model) else f"{model.file.stem}.json: its metrics cannot be read"


def find_damage(model: Model) -> str:
    """Compare an artifact with its metadata; return what is wrong, or an empty string."""
    with model.file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    said = model.metadata.get("sha256")
    return (
        ""
        if digest == said
        else f"{model.file.name}: sha256 is {digest[:12]}..., metadata says {str(said)[:12]}..."
    )


def leftover_files(folder: Path) -> list[Path]:
    """Return what a writer left that was killed: temporary files, and parts of an artifact.

    An artifact without complete metadata is one too: as a model, it does not exist.
    """
    kept = {path.name for model in list_models(folder) for path in model.files}
    for name in filter(None, (served_file(folder, tier) for tier in served_tiers(folder))):
        # What a link names is served, whatever is wrong with its metadata.
        kept |= {path.name for path in folder.glob(f"{PurePath(name).stem}.*")}
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        path
        for path in found
        if TEMPORARY.fullmatch(path.name) or (PART.fullmatch(path.name) and path.name not in kept)
    )
