"""pipeline.*: stages over series of data, and figures of what they made."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.config import schema
from slipway.config import values as config_values
from slipway.core import output, project, shell
from slipway.core.errors import Refused
from slipway.core.transaction import change
from slipway.pipeline import run as runs
from slipway.pipeline import stages
from slipway.stack import engines, session
from slipway.tasks import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from invoke.context import Context

    from slipway.core.project import Project
    from slipway.pipeline.run import PipelineRun, RunPlan
    from slipway.pipeline.runners import StageRunner

NEEDS = ("pipeline",)
RAY = "ray"
PLOTS_LIMIT = 600.0
SERIES = {
    "series": "their names, separated by commas, or all (default: the first)",
    "interval": "the same of the lengths of a period",
}


def is_wanted(root: Path) -> bool:
    """Say whether there are stages, whatever the service is called that has them."""
    return stages.has_stages(root)


@task(
    positional=[],
    help=SERIES
    | {
        "from": "the first stage (default: of all)",
        "to": "the last stage",
        "only": "this one stage; what follows -- goes to it",
        "parallel": "several series side by side, as many as there are cores",
        "engine": "local, compose or ray; default: what is in use, else what can run",
        "address": "of a cluster of Ray (default: RAY_ADDRESS, else this machine)",
        "again": "also what is as it would be",
        "timeout": "seconds that a stage of one series may take",
        "profile": options.PROFILE,
    },
)
def run(
    c: Context,
    from_: str = "",
    to: str = "",
    only: str = "",
    series: str = "",
    interval: str = "",
    parallel: bool = False,
    engine: str = "",
    address: str = "",
    again: bool = False,
    timeout: str = "3600",
    profile: str = "",
) -> None:
    """Run the stages in order; skip what has not changed."""
    here = project.load()
    chosen = stages.choose_stages(stages.read_stages(here.root), from_, to, only)
    works = stages.choose_work(stages.available_series(here.root), series, interval)
    parameters = options.after_dashes(c.remainder, sys.argv)
    if parameters and len(chosen) > 1:
        fix = f"name the stage: inv pipeline.run --only STAGE -- {shlex.join(parameters)}"
        raise Refused("what follows -- is for one stage, and this run is of several", fix, code=2)
    limit = options.seconds(timeout)
    name = _engine(engine, here)
    id_ = runs.new_run_id()
    known = {"run": id_, "engine": name, "series": [work.name for work in works]}
    of = f"{len(works)} series, {len(chosen)} {'stage' if len(chosen) == 1 else 'stages'}"
    output.say(f"Run {id_} (engine {name}): {of}")
    with change(here.root, "pipeline.run", **known) as made:
        runner = _runner(name, here, profile, id_, address)
        try:
            runner.prepare(chosen)
            lanes = min(runner.lanes if parallel or name == RAY else 1, len(works))
            plan = runs.RunPlan(chosen, works, parameters, again=again, limit=limit, lanes=lanes)
            under_way = runs.PipelineRun(here, runner, plan, id_)
            try:
                under_way.run_all()
            except KeyboardInterrupt:
                output.say(f"Go on where it was: {_typed(plan)}")
                raise
            finally:
                made.note(**runs.count_states(under_way.outcomes))
        finally:
            runner.close()
        _tell(under_way)


def _engine(asked: str, here: Project) -> str:
    """Name the engine that is meant; stages know one more than the stack does."""
    if asked == RAY:
        return RAY
    if asked and asked not in schema.ENGINES:
        known = ", ".join((*schema.ENGINES, RAY))
        raise Refused(f"there is no engine {asked!r}", f"choose one of: {known}", code=2)
    return engines.engine_name(asked, here)


def _runner(name: str, here: Project, profile: str, id_: str, address: str) -> StageRunner:
    """Return what runs stages on an engine; only what that needs is imported."""
    from slipway.pipeline.runners import (  # noqa: PLC0415 - speed: `inv --list` needs neither
        ContainerRunner,
        ProcessRunner,
    )

    where = session.profile_name(here, profile)
    values = _values(here, where, schema.COMPOSE if name == schema.COMPOSE else schema.LOCAL)
    if name == RAY:
        from slipway.pipeline.ray_runner import RayRunner  # noqa: PLC0415 - optional: it loads Ray

        return RayRunner(here, values, id_, address)
    return (
        ContainerRunner(here, values, id_)
        if name == schema.COMPOSE
        else ProcessRunner(here, values, id_)
    )


def _values(here: Project, profile: str, engine: str) -> Mapping[str, str]:
    return config_values.read_values(here, profile, engine)


def _tell(ended: PipelineRun) -> None:
    """Say what came of a run, where its logs are and what to type next.

    Raises:
        Refused: a stage failed.
    """
    where = ended.folder.relative_to(ended.project.root)
    output.say(f"{runs.format_counts(ended.outcomes)}; logs: {where}/")
    if why := ended.failure():
        what = "it, or what follows --" if ended.plan.parameters else "it"
        raise Refused(why, f"mend {what}, then go on: {_typed(ended.plan)}")
    output.say(f"Next: {' '.join(['inv pipeline.plots', *_of(ended.plan)])}")


def _typed(plan: RunPlan) -> str:
    """Write what goes on with a run; what was made is skipped then."""
    names = [stage.name for stage in plan.stages]
    parts = [f"--only {names[0]}"] if len(names) == 1 else [f"--from {names[0]} --to {names[-1]}"]
    after = ["--", shlex.join(plan.parameters)] if plan.parameters else []
    return " ".join(["inv pipeline.run", *parts, *_of(plan), *after])


def _of(plan: RunPlan) -> Sequence[str]:
    """Write what a run was of, as options."""
    series = dict.fromkeys(work.series for work in plan.works)
    intervals = dict.fromkeys(work.interval for work in plan.works)
    return ["--series", ",".join(series), "--interval", ",".join(intervals)]


@task(positional=[], help=SERIES)
def plots(_c: Context, series: str = "", interval: str = "") -> None:
    """Draw what the stages made, as PNG and a page."""
    here = project.load()
    for work in stages.choose_work(stages.available_series(here.root), series, interval):
        command = [sys.executable, "-m", f"{here.package}.pipeline.plots", *work.options]
        path = {"PYTHONPATH": str(here.source)}
        shell.run(command, cwd=here.root, env=path, timeout=PLOTS_LIMIT)
