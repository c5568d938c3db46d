"""env.*: variables and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from ops import environment, output, project
from ops.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context


@task(help={"profile": options.PROFILE})
def init(_c: Context, profile: str = "") -> None:
    """Make an ignored env file with random secrets, once."""
    here = project.load()
    name = environment.profile_name(profile)
    made = environment.init(here, name)
    output.say(
        f"Made {made}" if made else f"{here.env_file(name)} is there already: left as it is."
    )
    for variable in environment.missing(here, name):
        output.say(f"  still to set: {variable.name} ({variable.about})")


@task(help={"profile": options.PROFILE, "json": options.JSON})
def show(_c: Context, profile: str = "", json: bool = False) -> None:
    """Show what holds and where it came from, secrets masked."""
    values = environment.effective(project.load(), environment.profile_name(profile))
    rows = [{"name": item.name, "value": item.shown, "source": item.source} for item in values]
    output.show(rows, as_json=json, empty="No variable is described.")
