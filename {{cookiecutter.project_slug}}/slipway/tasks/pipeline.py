"""pipeline.*: run the stages for series of data, and plot the results."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
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
    from slipway.core.transaction import Change
    from slipway.pipeline.run import PipelineRun, RunPlan
    from slipway.pipeline.runners import StageRunner

NEEDS = ("pipeline",)
RAY = "ray"
PLOTS_LIMIT = 600.0
SERIES = {
    "series": "names separated by commas, or all (default: the first)",
    "interval": "likewise for the length of a period",
}


def is_wanted(root: Path) -> bool:
    """Say whether there are stages, whatever their services are called."""
    return stages.has_stages(root)


@task(
    positional=[],
    help=SERIES
    | {
        "from": "the first stage to run (default: the first of all)",
        "to": "the last stage to run",
        "only": "run this stage alone; arguments after -- are passed to it",
        "parallel": "run as many series at a time as there are cores",
        "engine": "local, compose or ray; default: the one in use, else one that can run",
        "address": "address of a Ray cluster (default: RAY_ADDRESS, else this machine)",
        "again": "also run stages that are up to date",
        "timeout": "seconds that a stage may take per series",
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
        raise Refused("arguments after -- are for one stage, and this run has several", fix, code=2)
    limit = options.seconds(timeout)
    name = _engine(engine, here)
    id_ = runs.new_run_id()
    known = {"run": id_, "engine": name, "series": [work.name for work in works]}
    of = f"{len(works)} series, {len(chosen)} {'stage' if len(chosen) == 1 else 'stages'}"
    output.say(f"Run {id_} (engine {name}): {of}")
    with change(here.root, "pipeline.run", **known) as made:
        with closing(_runner(name, here, profile, id_, address)) as runner:
            runner.prepare(chosen)
            lanes = min(runner.lanes if parallel or name == RAY else 1, len(works))
            plan = runs.RunPlan(chosen, works, parameters, again=again, limit=limit, lanes=lanes)
            started = runs.PipelineRun(here, runner, plan, id_)
            _run_noted(started, made)
        _report_end(started)


def _run_noted(started: PipelineRun, made: Change) -> None:
    """Run the stages, and note in the journal how many were made, skipped or failed."""
    try:
        started.run_all()
    except KeyboardInterrupt:
        output.say(f"To resume: {_command_to_resume(started.plan)}")
        raise
    finally:
        made.note(**runs.count_states(started.outcomes))


def _engine(asked: str, here: Project) -> str:
    """Return the name of the engine to use; stages can also run on Ray, unlike the stack."""
    if asked == RAY:
        return RAY
    if asked and asked not in schema.ENGINES:
        known = ", ".join((*schema.ENGINES, RAY))
        raise Refused(f"there is no engine {asked!r}", f"choose one of: {known}", code=2)
    return engines.engine_name(asked, here)


def _runner(name: str, here: Project, profile: str, id_: str, address: str) -> StageRunner:
    """Return the runner for an engine, importing only what it needs."""
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


def _report_end(ended: PipelineRun) -> None:
    """Say how a run ended, where its logs are and what to type next.

    Raises:
        Refused: a stage failed.
    """
    where = ended.folder.relative_to(ended.project.root)
    output.say(f"{runs.format_counts(ended.outcomes)}; logs: {where}/")
    if why := ended.failure():
        what = "it, or the arguments after --" if ended.plan.parameters else "it"
        raise Refused(why, f"fix {what}, then resume: {_command_to_resume(ended.plan)}")
    output.say(f"Next: {' '.join(['inv pipeline.plots', *_work_options(ended.plan)])}")


def _command_to_resume(plan: RunPlan) -> str:
    """Return the command that resumes a run, skipping what was made."""
    names = [stage.name for stage in plan.stages]
    parts = [f"--only {names[0]}"] if len(names) == 1 else [f"--from {names[0]} --to {names[-1]}"]
    after = ["--", shlex.join(plan.parameters)] if plan.parameters else []
    return " ".join(["inv pipeline.run", *parts, *_work_options(plan), *after])


def _work_options(plan: RunPlan) -> Sequence[str]:
    """Return the options that name the series and intervals of a run."""
    series = dict.fromkeys(work.series for work in plan.works)
    intervals = dict.fromkeys(work.interval for work in plan.works)
    return ["--series", ",".join(series), "--interval", ",".join(intervals)]


@task(positional=[], help=SERIES)
def plots(_c: Context, series: str = "", interval: str = "") -> None:
    """Plot the results of the stages, as PNG and a page."""
    here = project.load()
    for work in stages.choose_work(stages.available_series(here.root), series, interval):
        command = [sys.executable, "-m", f"{here.package}.pipeline.plots", *work.options]
        path = {"PYTHONPATH": str(here.source)}
        shell.run(command, cwd=here.root, env=path, timeout=PLOTS_LIMIT)
