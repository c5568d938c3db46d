"""Model artifacts: the files of models/, their metadata, and what each tier serves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Model:
    """One artifact: what its metadata file says, and whether its tier serves it."""

    tier: str
    version: str
    current: bool
    file: Path
    metadata: dict[str, Any]


def models(folder: Path) -> list[Model]:
    """Return every artifact that has complete metadata, by tier and version, oldest first."""
    found = [_model(path) for path in folder.glob("*_v*.json")]
    return sorted(filter(None, found), key=lambda item: (item.tier, _number(item.version)))


def _model(path: Path) -> Model | None:
    """Read one metadata file; without it complete, or without its artifact, there is no model."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        tier, version, file = said["tier"], said["version"], path.with_name(said["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not file.is_file():
        return None
    pointer = file.with_name(f"{tier}_current{file.suffix}")
    current = pointer.is_symlink() and pointer.readlink().name == file.name
    return Model(tier, version, current, file, said)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.lstrip("v").split("."))


def find(folder: Path, tier: str, version: str) -> Model:
    """Return one artifact: the named version, or what the tier serves when none is named.

    Raises:
        Refused: there is none; the message names what there is.
    """
    known = models(folder)
    wanted = version.lstrip("v")
    for model in known:
        if model.tier == tier and (
            model.version.lstrip("v") == wanted or (not wanted and model.current)
        ):
            return model
    names = ", ".join(f"{item.tier} {item.version}" for item in known) or "none"
    raise Refused(
        f"there is no model {tier} {version or '(current)'}; there are: {names}", "inv models.list"
    )


def summary(model: Model) -> dict[str, str]:
    """Return each target's score beside its best baseline, and the targets that do not beat it.

    Less is better in every score.
    """
    metrics: dict[str, Any] = model.metadata.get("metrics", {})
    cells = {name: _beside(said) for name, said in metrics.items()}
    lost = [name for name, said in metrics.items() if not said["beats_baselines"]]
    return cells | {"beats baselines": f"not in {', '.join(lost)}" if lost else "yes"}


def _beside(said: dict[str, Any]) -> str:
    score = said["score"]
    baselines = {name: measured[score] for name, measured in said["baselines"].items()}
    best = min(baselines, key=baselines.__getitem__)
    return f"{score} {said['model'][score]:.3f} ({best} {baselines[best]:.3f})"


def damaged(model: Model) -> str:
    """Compare an artifact with its metadata; return what is wrong, or an empty string."""
    digest = hashlib.sha256(model.file.read_bytes()).hexdigest()
    said = model.metadata.get("sha256")
    return (
        ""
        if digest == said
        else f"{model.file}: sha256 is {digest[:12]}..., metadata says {str(said)[:12]}..."
    )


def tiers(folder: Path) -> list[str]:
    """Return the tiers that serve something, or whose pointer says that they should."""
    return sorted(path.name.partition("_current.")[0] for path in folder.glob("*_current.*"))
