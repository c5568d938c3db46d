"""deploy.*: bring the stack up, look at it, take it down."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.config import values
from slipway.config.schema import LOCAL
from slipway.core import journal, output, project
from slipway.core.errors import Refused
from slipway.core.transaction import change
from slipway.stack import engines, hooks, provenance, services, session
from slipway.tasks import findings, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from slipway.stack.engines.base import ServiceStatus

TIMEOUT = {"timeout": "seconds each service may take to become healthy"}
MOST = 50
"""How many replicas a service may have on one machine: a larger number is a typing mistake."""


@task(
    help=options.WHERE
    | TIMEOUT
    | {
        "gpu": "reserve this machine's GPUs (compose.gpu.yaml)",
        "take_over": "take over a stack that another folder deploys",
        "yes": "do not ask about --take-over",
    }
)
def up(
    _c: Context,
    profile: str = "",
    engine: str = "",
    timeout: str = "120",
    gpu: bool = False,
    take_over: bool = False,
    yes: bool = False,
) -> None:
    """Start all services, and wait until they are healthy."""
    limit = options.seconds(timeout)
    here = project.load()
    if not services.deployed_services(here.root):
        output.say("No service stays up here: each runs to its end, on request.")
        output.say(f"Next: {_next(here)}")
        return
    wanted = session.profile_name(here, profile)
    _make_environment(here, wanted)
    findings.refuse_failures(here, wanted, engines.engine_name(engine, here))
    opened = session.open_session(profile, engine, gpu=gpu)
    _check_owner(opened, take_over=take_over, yes=yes)
    name = opened.engine.name
    output.say(f"Bringing up {here.name} (profile {opened.profile}, engine {name})")
    if name == LOCAL and (left := services.container_only_services(here.root)):
        output.say(f"  Skipped, because they run only in containers: {', '.join(sorted(left))}")
    _refuse_wrong_password(opened)
    with change(here.root, "deploy.up", profile=opened.profile, engine=name) as made:
        hooks.run_before(hooks.PRE_DEPLOY, made)
        started = opened.engine.up(limit)
        engines.note_stack(here, name, opened.profile, gpu=gpu)
        provenance.publish_provenance(opened)
        made.note(models=_served_models(here))
    hooks.run_after(hooks.POST_DEPLOY, made)
    if not started:
        output.say("Everything was up already.")
    _show(opened.engine.status())
    output.say("Next: inv deploy.status   inv deploy.logs   inv deploy.down")


def _check_owner(opened: session.Session, *, take_over: bool = False, yes: bool = False) -> None:
    """Check that no other clone deploys the stack; take it over if that is asked for and confirmed.

    Raises:
        Refused: the stack is another clone's.
    """
    if not (owned := opened.engine.ownership):
        return
    if take_over and (owner := owned.other_owner()):
        what = f"The stack {owned.name} belongs to {owner}. It will run from this folder, with the "
        what += "variables and secrets that are here, and can no longer be changed from there."
        output.confirm(f"{what} Take it over?", yes=yes)
        with change(opened.project.root, "deploy.take-over", owner=owner):
            owned.take_over()
    owned.refuse_other()


def _refuse_wrong_password(opened: session.Session) -> None:
    """Check that the running database accepts the password that services are about to be given."""
    if project.has_room("secret/rotation"):
        from slipway.secret.rotation import postgres  # noqa: PLC0415 - optional: only with a database

        postgres.refuse_wrong_password(opened)


def _served_models(here: project.Project) -> dict[str, str]:
    """Return the version that each tier serves, for the journal."""
    if not project.has_room("models"):
        return {}
    from slipway.models import history  # noqa: PLC0415 - optional: only where models are served

    return history.served_versions(here.models)


def _next(here: project.Project) -> str:
    """Return the command that runs services which do not stay up."""
    if project.has_room("pipeline"):
        from slipway.pipeline import stages  # noqa: PLC0415 - optional: only where there are stages

        if stages.has_stages(here.root):
            return "inv pipeline.run"
    return "docker compose run --rm SERVICE"


def _make_environment(here: project.Project, profile: str) -> None:
    """Make a profile's env file with new secrets, unless there were secrets before.

    Raises:
        Refused: they are there, encrypted; or the profile was deployed before, and new secrets
            would lock its owner out.
    """
    values.refuse_hidden(here, profile)
    path = here.env_file(profile)
    deployed = [item for item in journal.entries(here.root) if item["verb"] == "deploy.up"]
    if not path.exists() and any(item.get("profile") == profile for item in deployed):
        what = f"{path.name} is missing, and with it the secrets of an earlier deployment"
        raise Refused(what, f"restore it, or make new secrets: inv env.init --profile {profile}")
    made = values.create_env_file(here, profile)
    if made:
        output.say(f"  Made {made.name} with new secrets; git ignores it.")


@task(
    help=options.WHERE
    | {"volumes": "also remove the database and the cache", "yes": "do not ask about the volumes"}
)
def down(
    _c: Context, profile: str = "", engine: str = "", volumes: bool = False, yes: bool = False
) -> None:
    """Stop every service and keep its data."""
    opened = session.open_session(profile, engine, whole=False)
    _check_owner(opened)
    if volumes:
        output.confirm_typed(
            "This removes the database and everything else in the volumes of the profile "
            f"{opened.profile}, for good. The models stay in models/.",
            opened.project.slug,
            yes=yes,
        )
    with change(opened.project.root, "deploy.down", engine=opened.engine.name, volumes=volumes):
        removed = opened.engine.down(volumes=volumes)
        engines.forget_stack(opened.project)
    done = "Stopped" if removed.ran else "Nothing was running"
    if removed.volumes:
        output.say(f"{done}; removed the volumes {', '.join(removed.volumes)}. models/ is kept.")
    elif volumes:
        output.say(f"{done}; the profile {opened.profile} had no volumes. models/ is kept.")
    else:
        output.say(f"{done}; the data is kept." if removed.ran else f"{done}.")


@task(help=options.WHERE | {"json": options.JSON})
def status(_c: Context, profile: str = "", engine: str = "", json: bool = False) -> None:
    """Show each service: state, address, replicas, image and age."""
    found = session.open_session(profile, engine, whole=False).engine.status()
    if json:
        output.show(found, as_json=True, empty="")
    else:
        _show(found)


def _show(found: Sequence[ServiceStatus]) -> None:
    """Show the services as a table, without the columns for scripts."""
    output.show([item.line for item in found], as_json=False, empty="No service stays up here.")


@task(
    help=options.WHERE
    | {
        "service": "only this one",
        "lines": "how many lines from the end",
        "follow": "keep printing until Ctrl-C",
    }
)
def logs(
    _c: Context,
    service: str = "",
    lines: int = 50,
    follow: bool = False,
    profile: str = "",
    engine: str = "",
) -> None:
    """Show the logs of the services."""
    opened = session.open_session(profile, engine, whole=False)
    opened.engine.logs(service, max(lines, 0), follow=follow)


@task(help=options.WHERE | {"service": "the service whose image, variables and secrets it gets"})
def run(c: Context, service: str = "", profile: str = "", engine: str = "") -> None:
    """Run what follows -- with a service's variables and secrets."""
    command = options.after_dashes(c.remainder, sys.argv)
    if not command:
        fix = "inv deploy.run -- python -m <module>"
        raise Refused("there is no command after --", fix, code=2)
    session.open_session(profile, engine).engine.run(command, service)


@task(
    positional=["replicas"],
    help=options.WHERE | TIMEOUT | {"replicas": "service=number, such as api=3"},
)
def scale(
    _c: Context, replicas: str, profile: str = "", engine: str = "", timeout: str = "120"
) -> None:
    """Run a number of replicas of a service."""
    name, _, number = replicas.partition("=")
    if not number.isdecimal() or not 1 <= int(number) <= MOST:
        what = f"{replicas!r} is not service=number, from 1 to {MOST}"
        raise Refused(what, "inv deploy.scale api=3", code=2)
    opened = session.open_session(profile, engine)
    with change(opened.project.root, "deploy.scale", service=name, replicas=number):
        opened.engine.scale(name, int(number), options.seconds(timeout))
    _show(opened.engine.status())
    output.say("This holds until the next inv deploy.up, which runs as many as the profile says.")
