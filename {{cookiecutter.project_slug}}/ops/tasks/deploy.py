"""deploy.*: bring the stack up, look at it, take it down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from ops import engines, environment, journal, output, project
from ops.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context

HELP = {"profile": options.PROFILE, "engine": options.ENGINE}


def _engine(profile: str, engine: str) -> engines.Engine:
    """Return the engine over the variables of a profile, as complete as they are."""
    here = project.load()
    values = environment.effective(here, environment.profile_name(profile))
    return engines.choose(engine, here, {value.name: value.value for value in values})


@task(help=HELP | {"timeout": "seconds each service may take to become healthy"})
def up(_c: Context, profile: str = "", engine: str = "", timeout: int = 60) -> None:
    """Set up what is missing, start all services, wait for health."""
    here = project.load()
    name = environment.profile_name(profile)
    made = environment.init(here, name)
    if made:
        output.say(f"  Made {made.name} with new secrets; git ignores it.")
    chosen = engines.choose(engine, here, environment.require(here, name))
    output.say(f"Bringing up {here.name} (profile {name}, engine {chosen.name})")
    with journal.recorded(here.root, "deploy.up", profile=name, engine=chosen.name):
        started = chosen.up(timeout)
    if not started:
        output.say("Everything was up already.")
    output.show(chosen.status(), as_json=False, empty="")
    output.say("Next: inv deploy.status   inv deploy.logs   inv deploy.down")


@task(help=HELP)
def down(_c: Context, profile: str = "", engine: str = "") -> None:
    """Stop every service and keep its data."""
    here = project.load()
    chosen = _engine(profile, engine)
    with journal.recorded(here.root, "deploy.down", engine=chosen.name):
        ran = chosen.down()
    output.say(
        "Stopped; the data is kept. Back again: inv deploy.up" if ran else "Nothing was running."
    )


@task(help=HELP | {"json": options.JSON})
def status(_c: Context, profile: str = "", engine: str = "", json: bool = False) -> None:
    """Show each service: state, address, replicas."""
    output.show(_engine(profile, engine).status(), as_json=json, empty="No service is defined.")


@task(
    help=HELP
    | {"service": "only this one", "lines": "how many of the last", "follow": "go on until Ctrl-C"}
)
def logs(
    _c: Context,
    service: str = "",
    lines: int = 50,
    follow: bool = False,
    profile: str = "",
    engine: str = "",
) -> None:
    """Show what the services printed."""
    _engine(profile, engine).logs(service, lines, follow=follow)
