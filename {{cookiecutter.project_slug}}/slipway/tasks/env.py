"""env.*: variables and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from slipway.config import check as config_check
from slipway.config import reference, schema
from slipway.config import values as config_values
from slipway.core import files, output, project
from slipway.core.transaction import change
from slipway.secret import age, encrypted_env, scan_git
from slipway.secret import due as secret_due
from slipway.secret import edit as secret_edit
from slipway.stack import session
from slipway.tasks import findings, options

if TYPE_CHECKING:
    from invoke.context import Context


@task(help={"profile": options.PROFILE})
def init(_c: Context, profile: str = "") -> None:
    """Make an ignored env file with random secrets, once."""
    here = project.load()
    name = config_values.profile_name(profile)
    made = config_values.create_env_file(here, name)
    output.say(
        f"Made {made}" if made else f"{here.env_file(name)} already exists and was left unchanged."
    )
    for variable in config_values.missing_variables(here, name):
        such = f", such as {variable.example}" if variable.example else ""
        output.say(f"  still to set: {variable.name} ({variable.about}{such})")
    config_check.refuse_placeholders(here, name)


@task(help={"profile": options.PROFILE, "json": options.JSON})
def show(_c: Context, profile: str = "", json: bool = False) -> None:
    """Show what holds and where it came from, secrets masked."""
    values = config_values.effective_values(project.load(), config_values.profile_name(profile))
    rows = [{"name": item.name, "value": item.shown, "source": item.source} for item in values]
    output.show(rows, as_json=json, empty="No variable is described.")


@task(help={"profile": options.PROFILE, "json": options.JSON})
def check(_c: Context, profile: str = "", json: bool = False) -> None:
    """Find what is wrong with variables and env files."""
    here = project.load()
    name = session.profile_name(here, profile)
    found = findings.check_variables(here, name, limit=scan_git.THOROUGH)
    output.show(found, as_json=json, empty="")
    if failed := sum(item.state == "fail" for item in found):
        raise Exit("" if json else options.problems(failed), code=1)


@task(help={"profile": options.PROFILE, "yes": options.YES})
def encrypt(_c: Context, profile: str = "", yes: bool = False) -> None:
    """Encrypt an env file for git, for env/recipients.txt."""
    here = project.load()
    name = session.profile_name(here, profile)
    encrypted_env.read_recipients(here)  # refused before anything is asked or recorded
    config_check.refuse_unfit(here, name, encrypted_env.read_plain(here, name))
    if encrypted_env.age_difference(here, name) < 0:
        what = f"{encrypted_env.encrypted_name(name)} is newer than {here.env_file(name).name}"
        output.confirm(f"{what}: it may hold changes by a colleague. Overwrite it?", yes=yes)
    with change(here.root, "env.encrypt", profile=name):
        count = encrypted_env.encrypt_env(here, name)
    file = encrypted_env.encrypted_name(name)
    output.say(f"Encrypted {file} for {encrypted_env.count_recipients(count)}.")
    output.say(f"Next: git add {file} {encrypted_env.RECIPIENTS}")


@task(help={"profile": options.PROFILE, "identity": options.IDENTITY, "yes": options.YES})
def decrypt(_c: Context, profile: str = "", identity: str = "", yes: bool = False) -> None:
    """Write the env file that git keeps encrypted."""
    here = project.load()
    name = session.profile_name(here, profile)
    text = encrypted_env.decrypt_env(here, name, age.identity_file(identity))
    path = here.env_file(name)
    if path.exists() and encrypted_env.read_plain(here, name) != text:
        names = encrypted_env.differing_names(encrypted_env.read_plain(here, name), text)
        what = ", ".join(names) or "only comments"
        output.confirm(f"{path.name} exists and differs in: {what}. Overwrite it?", yes=yes)
    with change(here.root, "env.decrypt", profile=name):
        encrypted_env.write_plain(here, name, text)
    output.say(
        f"Decrypted {encrypted_env.encrypted_name(name)} to {path.name}. Next: inv deploy.up"
    )


@task(help={"profile": options.PROFILE, "identity": options.IDENTITY})
def edit(_c: Context, profile: str = "", identity: str = "") -> None:
    """Edit the env file that git keeps encrypted."""
    here = project.load()
    name = session.profile_name(here, profile)
    names = secret_edit.edit_env(here, name, age.identity_file(identity))
    if names is None:
        output.say(
            "Nothing was changed. (An editor with a window must wait for it: EDITOR='code --wait')"
        )
        return
    file = encrypted_env.encrypted_name(name)
    output.say(f"Changed in {file}: {', '.join(names) or 'only comments'}.")
    output.say(f"Next: git add {file}; and to deploy it: inv deploy.up")


@task(
    help={
        "profile": options.PROFILE,
        "within": "days before the end of its period in which a secret is due soon",
        "fail": "exit with 1 if any secret is due, due soon or unknown",
        "json": options.JSON,
    }
)
def due(
    _c: Context,
    profile: str = "",
    within: str = str(secret_due.SOON_DAYS),
    fail: bool = False,
    json: bool = False,
) -> None:
    """List secrets with a rotation period, and when each is due."""
    here, days = project.load(), options.count(within, "--within")
    found = secret_due.due_secrets(here, session.profile_name(here, profile), days)
    output.show(found, as_json=json, empty="No secret here has both a rotation period and a value.")
    if fail and (urgent := secret_due.urgent_secrets(found)):
        raise Exit("" if json else f"{len(urgent)} to rotate", code=1)


@task(help={"to": "the file for the secret key; do not keep it on this machine"})
def keygen(_c: Context, to: str) -> None:
    """Create a key pair for restore points and env files."""
    recipient = age.make_key(Path(to).expanduser())
    output.say(f"Wrote the secret key to {to}. Anyone with this key can read what is encrypted.")
    output.say("Without it nobody can, including you: keep it, but not on this machine.")
    if project.has_room("backup"):
        output.say(f"For the env file: BACKUP_RECIPIENT={recipient}")
    output.say(f"For {encrypted_env.RECIPIENTS}, so that git can keep env files: {recipient}")


@task
def docs(_c: Context) -> None:
    """Write docs/env.md and .env.example from the schema."""
    here = project.load()
    variables = schema.read(here)
    pages = {
        reference.PAGE: reference.page(variables),
        reference.EXAMPLE: reference.example(variables),
    }
    for name, text in pages.items():
        (here.root / name).parent.mkdir(exist_ok=True)
        files.replace_file(here.root / name, text)
        output.say(f"Wrote {name}")
