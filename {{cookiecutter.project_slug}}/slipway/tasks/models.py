"""models.*: train models, make one live, look back."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from slipway.core import output, project
from slipway.core.errors import Refused, printable
from slipway.core.transaction import StepFailed, change, change_under_way
from slipway.models import history as past
from slipway.models import maintenance, promotion, registry
from slipway.models.promotion import Promotion, PromotionLimits
from slipway.stack import hooks, session
from slipway.tasks import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from invoke.context import Context

    from slipway.core.project import Project
    from slipway.models.registry import Model
    from slipway.stack.session import Session

NEEDS = ("api",)
NONE_YET = "No model yet. Next: inv models.train"
TIER = {"tier": "such as tier1"}
WHY = {"why": "the reason, for the journal"}
WINDOW_DAYS = 30
CHECK = "models.check"
NICENESS = 10


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
    """Train new versions; what is served stays as it is."""
    _train(_beside_requests(profile, engine), tier, seed, major=major)


def _beside_requests(profile: str, engine: str) -> Session:
    """Open a session at low priority, so that serving on this machine is disturbed little."""
    os.nice(NICENESS)  # inherited by every process that trains or checks
    return session.open_session(profile, engine)


def _train(opened: Session, tier: str, seed: str = "", *, major: bool = False) -> list[Model]:
    """Train, and return what was made."""
    given = {"--tier": tier, "--seed": seed}
    arguments = [word for option, value in given.items() if value for word in (option, value)]
    arguments += ["--major"] if major else []
    folder = opened.project.models
    before = {item.file for item in registry.list_models(folder)}
    with change(opened.project.root, "models.train", tier=tier or None, seed=seed or None) as made:
        opened.module(f"{opened.project.package}.training", *arguments)
        new = [item for item in registry.list_models(folder) if item.file not in before]
        made.note(trained=[f"{item.tier} {item.version}" for item in new])
    return new


@task(name="list", help={"json": options.JSON})
def list_(_c: Context, json: bool = False) -> None:
    """List every version with its metrics on held-out data."""
    folder = project.load().models
    found = registry.list_models(folder)
    output.show([_row(item, plain=json) for item in found], as_json=json, empty=NONE_YET)
    for name, wrong in registry.unreadable_metadata(folder).items():
        print(printable(f"{name} {wrong}"), file=sys.stderr)


def _row(model: registry.Model, *, plain: bool) -> dict[str, object]:
    """Describe a version, in full for scripts and briefly for people."""
    row = {"tier": model.tier, "version": model.version, "current": model.current}
    said = model.metadata
    trained = {"trained_at": said.get("trained_at"), "metrics": said.get("metrics")}
    if plain:
        return row | trained
    marked = row | {"current": "yes" if model.current else ""}
    day = {"trained": str(said.get("trained_at"))[:16].replace("T", " ")}
    return marked | day | registry.score_summary(model)


@task(help=TIER | {"version": "default: what is served", "json": options.JSON})
def show(_c: Context, tier: str, version: str = "", json: bool = False) -> None:
    """Show everything known of one version."""
    model = registry.find_model(project.load().models, tier, version)
    facts = {"current": model.current, "path": str(model.file)} | model.metadata
    if json:
        output.say(output.format_json(facts))
        return
    for key, value in facts.items():
        output.say(f"{key:<18} {output.format_brief(value)}")


@task(
    help=options.WHERE
    | TIER
    | WHY
    | {
        "version": "such as v1.1",
        "dry-run": "check it and change nothing",
        "watch": f"seconds to watch it once it is served (default: {promotion.WATCH:.0f})",
        "limit": f"seconds until every process serves it (default: {promotion.SWAP_LIMIT:.0f})",
        "checks-limit": f"seconds for the checks (default: {promotion.CHECK_LIMIT:.0f})",
    },
)
def promote(
    _c: Context,
    tier: str,
    version: str,
    why: str = "",
    dry_run: bool = False,
    watch: str = f"{promotion.WATCH:.0f}",
    limit: str = f"{promotion.SWAP_LIMIT:.0f}",
    checks_limit: str = f"{promotion.CHECK_LIMIT:.0f}",
    profile: str = "",
    engine: str = "",
) -> None:
    """Check a version, make it live everywhere, watch it."""
    opened = _beside_requests(profile, engine)
    if not version:
        raise Refused("no version was named", "inv models.list", code=2)
    model = registry.find_model(opened.project.models, tier, version)
    watched = 0.0 if watch == "0" else options.seconds(watch, "--watch")
    limits = PromotionLimits(
        options.seconds(checks_limit, "--checks-limit"), options.seconds(limit, "--limit"), watched
    )
    _promote(opened, model, why, limits, dry_run=dry_run)


def _promote(
    opened: Session, model: Model, why: str, limits: PromotionLimits, *, dry_run: bool = False
) -> None:
    served = model.current and _unproven(opened.project, model.tier) is None
    if served and not dry_run and not change_under_way(opened.project.root):
        output.say(f"{model.tier} serves {model.version} already.")
        return
    verb = CHECK if dry_run else "models.promote"
    with _promotion(opened, verb, model, why, limits) as made:
        promotion.promote_model(made, model, dry_run=dry_run)
    if dry_run:
        output.say(f"{model.tier} {model.version} can be promoted; nothing was changed.")
        return
    before = past.version_of(opened.project.models, model.tier, made.before)
    undo = f" Undo: inv models.rollback {model.tier} --to {before}" if before else ""
    output.say(f"{_serves(made)} {model.version}.{undo}")


def _serves(promoted: Promotion) -> str:
    return f"{promoted.tier} {'serves' if promoted.replicas else 'will serve'}"


@task(
    positional=["tier"],
    help=options.WHERE
    | TIER
    | WHY
    | {
        "to": "a version (default: the previous one)",
        "limit": "seconds until every process serves it",
    },
)
def rollback(
    _c: Context,
    tier: str,
    to: str = "",
    why: str = "",
    limit: str = f"{promotion.SWAP_LIMIT:.0f}",
    profile: str = "",
    engine: str = "",
) -> None:
    """Make the previous version live again."""
    opened = session.open_session(profile, engine)
    model = registry.find_model(opened.project.models, tier, to or _previous(opened.project, tier))
    limits = PromotionLimits(swap=options.seconds(limit, "--limit"))
    with _promotion(opened, "models.rollback", model, why, limits) as made:
        promotion.roll_back(made, model)
    output.say(f"{_serves(made)} {model.version} again.")


@contextmanager
def _promotion(
    opened: Session, verb: str, model: Model, why: str, limits: PromotionLimits
) -> Iterator[Promotion]:
    """Announce and make a change of what one tier serves."""
    root, folder = opened.project.root, opened.project.models
    unproven = _unproven(opened.project, model.tier)
    before = registry.served_file(folder, model.tier) if unproven is None else unproven
    old = past.version_of(folder, model.tier, before)
    facts = {"tier": model.tier, "from": old, "to": model.version}
    facts |= {"before": before, "file": model.file.name}
    facts |= {"why": why} if why else {}
    where = f"profile {opened.profile}, engine {opened.engine.name}"
    output.say(f"{verb}: {model.tier} {old or 'nothing'} -> {model.version} ({where})")
    with change(root, verb, **facts) as change_:
        yield Promotion(opened, change_, model.tier, limits, before)
    if verb != CHECK:
        hooks.run_after(hooks.POST_PROMOTE, change_)


def _unproven(here: Project, tier: str) -> str | None:
    """Return the file that a killed promotion started from, if its version is still live."""
    left = past.interrupted_promotion(here.root)
    if left is None or left["tier"] != tier:
        return None
    now, before = registry.served_file(here.models, tier), str(left.get("before", ""))
    return before if now == left.get("file") != before else None


def _previous(here: Project, tier: str) -> str:
    """Return the version that a tier served last, and that is still here.

    Raises:
        Refused: there is none.
    """
    there = {item.version for item in registry.list_models(here.models) if item.tier == tier}
    known = past.previous_versions(past.served_periods(here.root, here.models), tier)
    for version in known:
        if version in there:
            return version
    what = f"{tier} has no previous version that is still here"
    raise Refused(what, "choose one of: inv models.list, and name it with --to")


@task(help={"tier": "only this one", "json": options.JSON})
def history(_c: Context, tier: str = "", json: bool = False) -> None:
    """Show what was live when, and who changed it."""
    here = project.load()
    found = past.served_periods(here.root, here.models)
    _refuse_unknown(here, tier)
    rows = [asdict(item) for item in reversed(found) if tier in ("", item.tier)]
    if not json:
        rows = [_when(row) for row in rows]
    output.show(rows, as_json=json, empty="Nothing has been live yet. Next: inv deploy.up")


def _when(row: dict[str, Any]) -> dict[str, Any]:
    """Write the times of a period for people."""
    until = "now" if row["until"] is None else row["until"][:16].replace("T", " ") or "?"
    since = row["since"][:16].replace("T", " ") or "?"
    return row | {"since": since, "until": until}


@task(help={"json": options.JSON})
def verify(_c: Context, json: bool = False) -> None:
    """Check all files and links; explain a killed promotion."""
    found = [*maintenance.verify_models(project.load())]
    output.show(found, as_json=json, empty=NONE_YET)
    if failed := [item for item in found if item.state == "fail"]:
        raise Refused(f"{len(failed)} of {len(found)} failed")


@task(
    help={
        "keep": "how many of each tier's newest versions stay (default: 3)",
        "days": f"versions live within so many days stay (default: {WINDOW_DAYS})",
        "dry-run": "show what would be deleted and change nothing",
        "yes": options.YES,
    }
)
def prune(
    _c: Context,
    keep: str = "3",
    days: str = f"{WINDOW_DAYS}",
    dry_run: bool = False,
    yes: bool = False,
) -> None:
    """Delete old versions that nothing needs any more."""
    here = project.load()
    wanted = (options.count(keep, "--keep"), options.count(days, "--days"))
    plan = maintenance.plan_pruning(here, *wanted)
    if not plan.going and not plan.left:
        output.say("Nothing to delete.")
        return
    output.show(plan.rows(), as_json=False, empty="")
    for path in plan.left:
        output.say(f"{path.name}: DELETE (left behind by a killed process)")
    if dry_run:
        return
    count = f"{len(plan.going)} versions and {len(plan.left)} leftovers"
    output.confirm(f"Delete {count}?", yes=yes)
    gone = [f"{item.tier} {item.version}" for item in plan.going]
    with change(here.root, "models.prune", deleted=gone):
        if maintenance.plan_pruning(here, *wanted) != plan:  # changed while the question waited
            raise Refused(
                "the models changed in the meantime; nothing was deleted", "inv models.prune"
            )
        plan.carry_out()
    output.say(f"Deleted {count}.")


@task(help=TIER | {"old": "such as v1.0", "new": "such as v1.1", "json": options.JSON})
def diff(_c: Context, tier: str, old: str, new: str, json: bool = False) -> None:
    """Show the metrics of two versions side by side."""
    folder = project.load().models
    pair = (registry.find_model(folder, tier, version) for version in (old, new))
    output.show([*registry.metric_differences(*pair)], as_json=json, empty="They have no metrics.")


@task(help=options.WHERE | {"tier": "only this one", "file": "new data (default: the usual file)"})
def retrain(
    _c: Context, tier: str = "", file: str = "", profile: str = "", engine: str = ""
) -> None:
    """Collect, train, promote what passes the gates; for cron."""
    opened = _beside_requests(profile, engine)
    _refuse_unknown(opened.project, tier)
    options_ = ("--file", file) if file else ()
    with change(opened.project.root, "data.collect", file=file or None):
        opened.module(f"{opened.project.package}.collect", *options_)
    wrong = []
    for model in _train(opened, tier):
        if _drop_same(opened.project, model):
            continue
        try:
            _promote(opened, model, "retrained", PromotionLimits())
        except StepFailed as error:
            output.say(f"{error.what}\n{model.tier} is unchanged.")
            # The gates are there to stop a model that is not good enough: that is no failure.
            wrong += [] if error.step == "metrics" else [error.what]
        except Refused as error:  # another change came in between; go on with the other tiers
            wrong.append(error.what)
    if wrong:
        raise Refused("\n".join(wrong), "inv models.verify")


def _drop_same(here: Project, model: Model) -> bool:
    """Delete a new model that is byte for byte the one that is served."""
    served = [item for item in registry.list_models(here.models) if item.current]
    same = {item.metadata.get("sha256") for item in served if item.tier == model.tier}
    if model.current or model.metadata.get("sha256") not in same:
        return False
    with change(here.root, "models.drop", deleted=f"{model.tier} {model.version}"):
        maintenance.remove_model(model)
    output.say(f"{model.tier} {model.version} is identical to the served model and was deleted.")
    return True


def _refuse_unknown(here: Project, tier: str) -> None:
    """Refuse an unknown tier; where there is no model at all, any tier may be meant."""
    known = sorted({item.tier for item in registry.list_models(here.models)})
    if tier and known and tier not in known:
        raise Refused(f"there is no tier {tier!r}", f"choose one of: {', '.join(known)}", code=2)
