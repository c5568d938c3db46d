"""env.*: variables and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from ops import (
    derived,
    editor,
    encryption,
    envcheck,
    environment,
    files,
    output,
    periods,
    project,
    renewals,
    schema,
    sealed,
    session,
)
from ops.changes import change
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


@task(help={"profile": options.PROFILE, "yes": options.YES})
def encrypt(_c: Context, profile: str = "", yes: bool = False) -> None:
    """Encrypt an env file for git: for env/recipients.txt."""
    here = project.load()
    name = session.profile_name(here, profile)
    sealed.recipients(here)  # refused before anything is asked or recorded
    envcheck.refuse_unfit(here, name, sealed.plain(here, name))
    if sealed.later(here, name) < 0:
        what = f"{sealed.shown(name)} is newer than {here.env_file(name).name}"
        output.confirm(f"{what}: it may hold what a colleague changed. Overwrite it?", yes=yes)
    with change(here.root, "env.encrypt", profile=name):
        count = sealed.encrypt(here, name)
    output.say(f"{sealed.shown(name)}: encrypted anew, for {sealed.people(count)}.")
    output.say(f"Next: git add {sealed.shown(name)} {sealed.RECIPIENTS}")


@task(help={"profile": options.PROFILE, "identity": options.IDENTITY, "yes": options.YES})
def decrypt(_c: Context, profile: str = "", identity: str = "", yes: bool = False) -> None:
    """Write the env file that git keeps encrypted."""
    here = project.load()
    name = session.profile_name(here, profile)
    text = sealed.opened(here, name, encryption.identity(identity))
    path = here.env_file(name)
    if path.exists() and sealed.plain(here, name) != text:
        names = sealed.differing(sealed.plain(here, name), text)
        what = ", ".join(names) or "no variable, but comments"
        output.confirm(f"{path.name} is there. What differs: {what}. Overwrite it?", yes=yes)
    with change(here.root, "env.decrypt", profile=name):
        sealed.put(here, name, text)
    output.say(f"{path.name} is what {sealed.shown(name)} holds. Next: inv deploy.up")


@task(help={"profile": options.PROFILE, "identity": options.IDENTITY})
def edit(_c: Context, profile: str = "", identity: str = "") -> None:
    """Edit the env file that git keeps encrypted."""
    here = project.load()
    name = session.profile_name(here, profile)
    names = editor.edit(here, name, encryption.identity(identity))
    if names is None:
        output.say("Nothing was changed. (A window has to be waited for: EDITOR='code --wait')")
        return
    output.say(f"{sealed.shown(name)}: changed {', '.join(names) or 'no variable'}.")
    output.say(f"Next: git add {sealed.shown(name)}, and where it is deployed: inv deploy.up")


@task(
    help={
        "profile": options.PROFILE,
        "within": "days before that count as due soon",
        "fail": "exit with 1 where anything is due, soon or unknown",
        "json": options.JSON,
    }
)
def due(
    _c: Context,
    profile: str = "",
    within: str = str(periods.SOON_DAYS),
    fail: bool = False,
    json: bool = False,
) -> None:
    """List secrets with a period, and when each is to be rotated."""
    here, days = project.load(), options.count(within, "--within")
    found = periods.known(here, session.profile_name(here, profile), days)
    output.show(found, as_json=json, empty="No secret has a period and a value here.")
    if fail and (urgent := periods.urgent(found)):
        raise Exit("" if json else f"{len(urgent)} to rotate", code=1)


@task(
    help=options.WHERE
    | {
        "name": "such as POSTGRES_PASSWORD",
        "overlap": "how long the API key before opens too; 0: not at all",
        "yes": options.YES,
    }
)
def rotate(
    _c: Context,
    name: str,
    overlap: str = "24 hours",
    profile: str = "",
    engine: str = "",
    yes: bool = False,
) -> None:
    """Replace a secret everywhere, while all runs."""
    opened = session.opened(profile, engine)
    renewal = renewals.of(opened, name, options.duration(overlap, "--overlap"))
    where = f"profile {opened.profile}, engine {opened.engine.name}"
    output.say(f"{renewals.VERB}: {name} ({where})")
    output.show(renewal.rows(), as_json=False, empty="")
    output.confirm(f"Replace {name}?", yes=yes)
    renewal.ask()
    with change(opened.project.root, renewals.VERB, name=name, profile=opened.profile) as made:
        renewal.run(made)
    output.say(renewal.told())


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
