"""The folder of the models, kept in order: what is wrong in it, and what can go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ops import changes, history, journal, registry, rotation
from ops.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta
    from pathlib import Path

    from ops.project import Project
    from ops.registry import Model


def verify(project: Project) -> Iterator[Finding]:
    """Look at every file, every link and the last change."""
    folder = project.models
    for model in registry.models(folder):
        wrong = registry.damaged(model)
        detail = wrong or ("current" if model.current else "")
        fix = f"inv models.rollback {model.tier}" if wrong and model.current else ""
        yield Finding(f"{model.tier} {model.version}", "fail" if wrong else "ok", detail, fix)
    for tier in registry.tiers(folder):
        yield from _link(folder, tier)
    for path in registry.leftovers(folder):
        detail = "left by a writer that was killed; nothing reads it"
        yield Finding(path.name, "warn", detail, "inv models.prune")
    if left := _interrupted(project.root):
        yield explained(left, registry.pointed(folder, left["tier"]))


def _link(folder: Path, tier: str) -> Iterator[Finding]:
    """Find a link that leads to no complete model."""
    name = registry.pointed(folder, tier)
    known = {item.file.name for item in registry.models(folder) if item.tier == tier}
    if name not in known:
        detail = f"{tier} -> {name or '?'}, which is no complete model of it"
        yield Finding(f"{tier}_current", "fail", detail, f"inv models.rollback {tier}")


def _interrupted(root: Path) -> Mapping[str, Any] | None:
    """Return the last rotation, if it was killed and none of its tier followed."""
    known = [item for item in journal.entries(root) if item["verb"] in history.MOVES]
    if left := changes.killed(root):
        known.append({**left, "outcome": "killed"})
    last = known[-1] if known else {}
    ours = last.get("outcome") == "killed" and last.get("verb") in history.MOVES
    return last if ours and "tier" in last else None


def explained(left: Mapping[str, Any], pointed: str) -> Finding:
    """Say of a killed rotation what it had done, and how to finish or undo it."""
    tier, old, new = left["tier"], left["from"], left["to"]
    step = left.get("step", rotation.STEPS[0])
    what = f"{left['verb']} of {tier}, {old} to {new}"
    number = rotation.STEPS.index(step) + 1
    finish = f"finish: inv models.promote {tier} {new}"
    if pointed != left.get("file"):
        detail = f"killed at step {number} ({step}): {tier} still serves {old}"
        return Finding(what, "warn", detail, finish)
    detail = f"killed at step {number} ({step}): {tier} serves {new}, and nobody has watched it"
    undo = f"   undo: inv models.rollback {tier} --to {old}" if old else ""
    return Finding(what, "fail", detail, finish + undo)


def restore_points(backups: Path) -> dict[str, str]:
    """Return the model files that restore points name, each with one that names it."""
    found: dict[str, str] = {}
    for path in sorted(backups.glob("*/manifest.json")):
        try:
            named = json.loads(path.read_text(encoding="utf-8"))["models"]
            found |= dict.fromkeys(named.values(), path.parent.name)
        except (OSError, ValueError, KeyError, AttributeError):
            continue
    return found


def kept(project: Project, keep: int, window: timedelta) -> dict[str, str]:
    """Return the file of each version that is not to go, with the reason."""
    known = registry.models(project.models)
    recent = history.live_since(history.periods(project.root, project.models), window)
    points = restore_points(project.backups)
    return {
        model.file.name: reason
        for model in known
        if (reason := _reason(model, known, keep, recent, points))
    }


def _reason(
    model: Model,
    known: list[Model],
    keep: int,
    recent: set[tuple[str, str]],
    points: Mapping[str, str],
) -> str:
    newest = [item for item in known if item.tier == model.tier][-keep:] if keep else []
    if model.current:
        return "current"
    if (model.tier, model.version) in recent:
        return "was live lately"
    if model.file.name in points:
        return f"in restore point {points[model.file.name]}"
    return f"of the newest {keep}" if model in newest else ""


def remove(model: Model) -> None:
    """Delete a version: its metadata first, so that it is gone at once or not at all."""
    for path in model.files:
        path.unlink()
