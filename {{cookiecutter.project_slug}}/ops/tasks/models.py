"""models.*: train models and look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from ops import output, project, registry, session
from ops.changes import change
from ops.errors import Refused
from ops.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context

NONE_YET = "No model yet. Next: inv models.train"


@task(
    help=options.WHERE
    | {
        "tier": "only this one",
        "major": "the architecture changed: v1.3 becomes v2.0",
        "seed": "start of the random numbers (default: the same each time)",
    }
)
def train(
    _c: Context,
    tier: str = "",
    major: bool = False,
    seed: str = "",
    profile: str = "",
    engine: str = "",
) -> None:
    """Train models and serve them as new versions."""
    opened = session.opened(profile, engine)
    given = {"--tier": tier, "--seed": seed}
    arguments = [word for option, value in given.items() if value for word in (option, value)]
    arguments += ["--major"] if major else []
    with change(opened.project.root, "models.train", tier=tier or None, seed=seed or None):
        opened.module(f"{opened.project.package}.training", *arguments)
    for service, wrong in opened.engine.reload().items():
        if wrong:
            raise Refused(f"{service} still serves what it had: {wrong}", "inv deploy.logs")
        output.say(f"{service} serves the current models now.")


@task(name="list", help={"json": options.JSON})
def list_(_c: Context, json: bool = False) -> None:
    """List every version with its metrics on held-out data."""
    found = registry.models(project.load().models)
    output.show([_row(item, plain=json) for item in found], as_json=json, empty=NONE_YET)


def _row(model: registry.Model, *, plain: bool) -> dict[str, object]:
    """Describe one version, in full for scripts and in a few words for people."""
    row = {"tier": model.tier, "version": model.version, "current": model.current}
    said = model.metadata
    trained = {"trained_at": said.get("trained_at"), "metrics": said.get("metrics")}
    if plain:
        return row | trained
    marked = row | {"current": "yes" if model.current else ""}
    day = {"trained": str(said.get("trained_at"))[:16].replace("T", " ")}
    return marked | day | registry.summary(model)


@task(help={"tier": "such as tier1", "version": "default: what is served", "json": options.JSON})
def show(_c: Context, tier: str, version: str = "", json: bool = False) -> None:
    """Show everything known of one version."""
    model = registry.find(project.load().models, tier, version)
    facts = {"current": model.current, "path": str(model.file)} | model.metadata
    if json:
        output.say(output.dumps(facts))
        return
    for key, value in facts.items():
        output.say(f"{key:<18} {output.brief(value)}")
