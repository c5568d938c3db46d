"""env.*: variables and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from ops import derived, envcheck, environment, files, output, project, schema, session
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
        such = f", such as {variable.example}" if variable.example else ""
        output.say(f"  still to set: {variable.name} ({variable.about}{such})")
    envcheck.refuse_placeholders(here, name)


@task(help={"profile": options.PROFILE, "json": options.JSON})
def show(_c: Context, profile: str = "", json: bool = False) -> None:
    """Show what holds and where it came from, secrets masked."""
    values = environment.effective(project.load(), environment.profile_name(profile))
    rows = [{"name": item.name, "value": item.shown, "source": item.source} for item in values]
    output.show(rows, as_json=json, empty="No variable is described.")


@task(help={"profile": options.PROFILE, "json": options.JSON})
def check(_c: Context, profile: str = "", json: bool = False) -> None:
    """Find what is wrong with variables and env files."""
    here = project.load()
    findings = envcheck.examine(here, session.profile_name(here, profile), limit=envcheck.THOROUGH)
    output.show(findings, as_json=json, empty="")
    if failed := sum(finding.state == "fail" for finding in findings):
        raise Exit("" if json else f"{failed} to mend", code=1)


@task
def docs(_c: Context) -> None:
    """Write docs/env.md and .env.example from the schema."""
    here = project.load()
    variables = schema.read(here)
    pages = {derived.PAGE: derived.page(variables), derived.EXAMPLE: derived.example(variables)}
    for name, text in pages.items():
        (here.root / name).parent.mkdir(exist_ok=True)
        files.replaced(here.root / name, text)
        output.say(f"Wrote {name}")
