"""models.*: train models and look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from ops import application, environment, journal, output, project, registry
from ops.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    help={
        "tier": "only this one",
        "major": "the architecture changed: v1.3 becomes v2.0",
        "seed": "start of the random numbers",
        "profile": options.PROFILE,
    }
)
def train(
    _c: Context, tier: str = "", major: bool = False, seed: int = 0, profile: str = ""
) -> None:
    """Train models on the collected data, each as a new version that its tier then serves."""
    here = project.load()
    name = environment.profile_name(profile)
    arguments = [
        *(["--tier", tier] if tier else []),
        *(["--major"] if major else []),
        "--seed",
        str(seed),
    ]
    with journal.recorded(here.root, "models.train", tier=tier or None, seed=seed):
        application.run(here, name, application.module(f"{here.package}.training", *arguments))


def _metrics(model: registry.Model) -> str:
    parts = [
        f"{target} {measure} {value:.3f}"
        for target, measures in model.metadata.get("metrics", {}).items()
        for measure, value in measures.get("model", {}).items()
    ]
    return ", ".join(parts)


@task(name="list", help={"json": options.JSON})
def list_(_c: Context, json: bool = False) -> None:
    """List every version of every tier with its metrics on held-out data."""
    found = registry.models(project.load().models)
    rows = [
        {
            "tier": item.tier,
            "version": item.version,
            "current": item.current if json else "yes" if item.current else "",
            "trained_at": item.metadata.get("trained_at"),
            "metrics": item.metadata.get("metrics") if json else _metrics(item),
        }
        for item in found
    ]
    output.show(rows, as_json=json, empty="No model yet. Next: inv models.train")


@task(
    help={
        "tier": "such as tier1",
        "version": "such as v1.0 (default: what is served)",
        "json": options.JSON,
    }
)
def show(_c: Context, tier: str, version: str = "", json: bool = False) -> None:
    """Show everything known of one version."""
    model = registry.find(project.load().models, tier, version)
    facts = {"current": model.current, "path": str(model.file)} | model.metadata
    if json:
        output.say(output.dumps(facts))
    else:
        for key, value in facts.items():
            output.say(f"{key:<18} {output.brief(value)}")
