"""The folder of the models: what is wrong in it, and what can be deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from slipway.core import transaction
from slipway.core.errors import Finding
from slipway.core.files import read_json
from slipway.models import history, promotion, registry, replicas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from slipway.core.project import Project
    from slipway.models.registry import Model


def checks(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with the models, or that nothing is."""
    served = history.served_versions(project.models)
    wrong = [item for item in verify_models(project) if item.state != "ok"]
    for item in wrong:
        yield Finding("models", item.state, f"{item.check}: {item.detail}", item.fix)
    trains = (project.source / project.package / "prepare.py").is_file()
    if not served and trains:
        yield Finding("models", "warn", "none yet", "inv deploy.up trains them")
    elif served and not wrong:
        names = ", ".join(f"{tier} {version}" for tier, version in served.items())
        yield Finding("models", "ok", f"intact; served: {names}")


def verify_models(project: Project) -> Iterator[Finding]:
    """Check every file, every link, what processes serve, and the last change."""
    folder = project.models
    known = registry.list_models(folder)
    for model in known:
        wrong = registry.find_damage(model) or registry.metrics_problem(model)
        detail = wrong or ("current" if model.current else "")
        fix = _replacement_command(project, model.tier) if wrong and model.current else ""
        yield Finding(f"{model.tier} {model.version}", "fail" if wrong else "ok", detail, fix)
    for tier in sorted({*registry.served_tiers(folder), *(model.tier for model in known)}):
        yield from _link(project, tier)
    yield from _processes(project)
    unreadable = registry.unreadable_metadata(folder)
    for name, wrong in unreadable.items():
        yield Finding(name, "warn", f"{wrong}; it counts for nothing", "inv models.prune")
    for path in registry.leftover_files(folder):
        if path.name not in unreadable:
            detail = "left behind by a killed process; nothing reads it"
            yield Finding(path.name, "warn", detail, "inv models.prune")
    if transaction.change_under_way(project.root):
        yield Finding("changes", "warn", "one is under way; look again after it")
    elif left := history.interrupted_promotion(project.root):
        yield explain_interruption(left, registry.served_file(folder, left["tier"]))


def _link(project: Project, tier: str) -> Iterator[Finding]:
    """Find a link that is missing, is none, or does not lead to a complete model of the folder."""
    folder, name = project.models, registry.served_file(project.models, tier)
    sound = name in {item.file.name for item in registry.list_models(folder) if item.tier == tier}
    plain = [path for path in folder.glob(f"{tier}_current.*") if not path.is_symlink()]
    if sound and not plain:
        return
    if plain:
        what = f"{plain[0].name} is not a link"
    elif name:
        lacks = f"in {folder.name}/" if "/" in name else "a complete model"
        what = f"{tier} -> {name}, which is not {lacks}"
    else:
        what = f"{tier} has no link"
    detail = f"{what}: a process that starts does not serve it"
    fix = f"rm {folder.name}/{plain[0].name}" if sound else _replacement_command(project, tier)
    yield Finding(f"{tier}_current", "fail", detail, fix)


def _replacement_command(project: Project, tier: str) -> str:
    """Return the command that replaces a tier's damaged current model."""
    now = registry.served_file(project.models, tier)
    whole = [
        item.version
        for item in registry.list_models(project.models)
        if item.tier == tier and item.file.name != now and not registry.find_damage(item)
    ]
    was = [
        *history.previous_versions(history.served_periods(project.root, project.models), tier),
        *reversed(whole),
    ]
    back = next((version for version in was if version in whole), "")
    return f"inv models.rollback {tier} --to {back}" if back else f"inv models.train --tier {tier}"


def _processes(project: Project) -> Iterator[Finding]:
    """Find processes that serve another version than the links name."""
    folder = project.models
    for process in replicas.serving_processes(replicas.report_folder(project.run)):
        for tier in registry.served_tiers(folder):
            said, named = process.tier(tier), registry.served_file(folder, tier)
            if said and said["file"] != named:
                why = said["wrong"] or "it has not loaded it yet"
                what = f"serves {said['file'] or 'nothing'} of {tier}, not {named or 'by a link'}"
                yield Finding(process.name, "fail", f"{what}: {why}", "inv deploy.logs")


def explain_interruption(left: Mapping[str, Any], pointed: str) -> Finding:
    """Say what a killed promotion had done, and how to finish or undo it."""
    tier, old, new = left["tier"], left["from"], left["to"]
    step = left.get("step", promotion.STEPS[0])
    what = f"{left['verb']} of {tier}, {old} to {new}"
    number = promotion.STEPS.index(step) + 1
    finish = f"finish: inv models.promote {tier} {new}"
    if pointed != left.get("file"):
        detail = f"killed at step {number} ({step}): {tier} still serves {old}"
        return Finding(what, "warn", detail, finish)
    detail = f"killed at step {number} ({step}): {tier} serves {new}, which was not watched"
    undo = f"   undo: inv models.rollback {tier} --to {old}" if old else ""
    return Finding(what, "fail", detail, finish + undo)


def restore_point_files(backups: Path) -> dict[str, str]:
    """Return the model files that restore points need, each with one that needs it."""
    found: dict[str, str] = {}
    for path in sorted(backups.glob("*/manifest.json")):
        try:
            named = read_json(path)["models"]
            found |= dict.fromkeys(named.values(), path.parent.name)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
    return found


@dataclass(frozen=True)
class ModelPrunePlan:
    """Which versions to delete, and why the others stay."""

    known: tuple[Model, ...]
    stay: Mapping[str, str]
    """The file of each version that stays, and why."""
    left: tuple[Path, ...]
    """What killed processes left behind."""

    @property
    def going(self) -> list[Model]:
        """The versions that go."""
        return [item for item in self.known if item.file.name not in self.stay]

    def rows(self) -> list[dict[str, str]]:
        """Return a row for each version."""
        return [
            {
                "tier": item.tier,
                "version": item.version,
                "outcome": self.stay.get(item.file.name, "DELETE"),
            }
            for item in self.known
        ]

    def carry_out(self) -> None:
        """Delete them."""
        for model in self.going:
            remove_model(model)
        for path in self.left:
            path.unlink(missing_ok=True)


def plan_pruning(project: Project, keep: int, days: int) -> ModelPrunePlan:
    """Plan to keep the newest `keep` of each tier, and what was live within `days`."""
    found = registry.list_models(project.models)
    left = registry.leftover_files(project.models)
    return ModelPrunePlan(
        tuple(found), kept_files(project, keep, timedelta(days=days)), tuple(left)
    )


def kept_files(project: Project, keep: int, window: timedelta) -> dict[str, str]:
    """Return the file of each version that stays, and why."""
    known = registry.list_models(project.models)
    recent = history.live_since(history.served_periods(project.root, project.models), window)
    points = restore_point_files(project.backups)
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
        return "was live recently"
    if model.file.name in points:
        return f"in restore point {points[model.file.name]}"
    return f"one of the newest {keep}" if model in newest else ""


def remove_model(model: Model) -> None:
    """Delete a version: its metadata first, so that it is gone at once or not at all."""
    for path in model.files:
        path.unlink()
