"""What is generated from the schema: new env files, .env.example and docs/env.md."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.config import envfile
from slipway.config.schema import ENGINES, FILE, PROFILES, TASKS
from slipway.core.errors import Refused
from slipway.core.project import has_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slipway.config.schema import Variable

EXAMPLE = ".env.example"
PAGE = "docs/env.md"
HEAD = """\
# Variables

Every variable of env/schema.toml, grouped by the services that read it. `inv env.docs` updates this
page and .env.example, and a test fails if they are out of date.

A value comes from the environment, else from `.env.<profile>`, else from the default. A profile or
an engine in parentheses means that the value is for that one only; a dash means none. `inv
env.show` prints every value and its source, and `inv env.check` finds problems.

A service gets the variables it reads and no others. Instead of a secret `NAME` it gets `NAME_FILE`,
the name of a file that contains it.
"""
SECRETS = """\
## Secrets

`inv env.init` generates secrets, and `inv env.due` lists when each is due for rotation.

Git can keep an env file encrypted with age, for the recipients in `env/recipients.txt`: one
`age1...` or `ssh-ed25519 ...` per line, and comments after `#`. A clone and one of their keys are
enough to deploy.

- To start: `inv env.keygen --to ~/age.key` prints your line for `env/recipients.txt`. Then run
  `inv env.encrypt --profile prod` and commit both files.
- In a clone: `inv env.decrypt --profile prod --identity ~/age.key`, then `inv deploy.up`. You can
  set `AGE_IDENTITY_FILE=~/age.key` in the environment instead of the option.
- To change a value: `inv env.edit --profile prod --identity ~/age.key`. If you edited `.env.prod`
  itself, run `inv env.encrypt --profile prod`; a rotation does so by itself.
- To add a colleague, add their `age1...`, then run `inv env.encrypt --profile prod`.
- When someone leaves, remove their line, encrypt, and rotate every secret: they could read all of
  them, and git keeps the old files.
"""
ROTATION = """\
- `inv env.rotate NAME` shows its steps, asks, and checks after each step. If one before the last
  fails, it restores the old value. If it is killed, both values are accepted, `inv env.check`
  says so, and the same command finishes the rotation.
- Database and Redis passwords: no request fails and nothing is restarted. The database switches
  to the other of its two logins (`app`, `app_b`), so tools of your own need `POSTGRES_LOGIN` and
  the new password.
- API key: the old key works for another day, or for `--overlap "2 hours"`; with 0 it stops
  working at once.
- Secrets from a provider (`BACKUP_URL_OPTIONS`): you are asked for the new one, which is tested
  before it is used.
- All others: the services that read the secret are restarted, one after the other.

"""
IMAGES = """\
## Images

All services whose image is built here share these. They name and label the image, and set the user
that its containers run as.

"""
SETTINGS = """\
## Settings

Each key of config/settings.yaml can be set as a variable too. The file describes them and has their
defaults: {}.
"""


@dataclass(frozen=True)
class ProfileEntry:
    """A value that holds on every profile or engine, or on those that are named."""

    value: str
    profiles: tuple[str, ...] = ()


def env_file(variables: Iterable[Variable], profile: str) -> str:
    """Write a new env file: secrets at random, the rest named with its default."""
    head = [
        f"# Values of the profile {profile} on this machine. Keep it out of git: it holds secrets.",
        f"# {FILE} describes every variable; the environment takes precedence over this file.",
    ]

    def entry(variable: Variable) -> str:
        name = variable.name
        if variable.secret and variable.needed(profile):
            return envfile.line(name, secrets.token_urlsafe(variable.secret))
        if variable.needed(profile) and not variable.has_default(profile):
            return envfile.line(name, "")
        defaults = {variable.default_in(profile, engine): None for engine in ENGINES}
        return "\n".join(_commented(name, text) for text in defaults)

    return _written(head, variables, entry)


def generated_secrets(variables: Iterable[Variable], profile: str) -> list[str]:
    """Name the secrets that a new env file has made at random."""
    return [item.name for item in variables if item.secret and item.needed(profile)]


def example(variables: Iterable[Variable]) -> str:
    """Write .env.example: what every profile needs has a placeholder, the rest its default."""
    head = [
        "# What an env file can hold. `inv env.init --profile prod` makes one with random secrets.",
        f"# Generated from {FILE} by `inv env.docs`. Replace every <...>.",
    ]

    def entry(variable: Variable) -> str:
        name = variable.name
        if any(variable.needed(item) and not variable.has_default(item) for item in PROFILES):
            return envfile.line(name, placeholder(variable))
        defaults = dict.fromkeys(variable.default.values()) or {variable.example: None}
        return "\n".join(_commented(name, text) for text in defaults)

    return _written(head, variables, entry)


def _commented(name: str, text: str) -> str:
    """Write what sets a variable as a comment; a default that names others stands as it is."""
    try:
        return f"# {envfile.line(name, text)}"
    except Refused:
        return f"# {name}={text}"


def placeholder(variable: Variable) -> str:
    """Write what stands for a value that has to be given."""
    if variable.secret:
        return f"<{variable.secret} random bytes>"
    return f"<such as {variable.example}>" if variable.example else "<a value>"


def _written(
    head: Sequence[str], variables: Iterable[Variable], entry: Callable[[Variable], str]
) -> str:
    """Write one paragraph for each variable that somebody may set."""
    settable = (item for item in variables if item.set_by != TASKS and not item.setting)
    paragraphs = (f"# {item.about}\n{entry(item)}" for item in settable)
    return "\n\n".join(["\n".join(head), *paragraphs]) + "\n"


def page(variables: Sequence[Variable]) -> str:
    """Write docs/env.md: a table of what is for images, one for each reader, and the rotations."""
    own = [item for item in variables if not (item.images or item.setting)]
    readers = sorted({reader for item in own for reader in item.read_by})
    images = IMAGES + _described([item for item in variables if item.images])
    tables = [
        f"## {name}\n\n{_described([item for item in own if name in item.read_by])}"
        for name in readers
    ]
    shared = [HEAD, SECRETS, images, *_settings(variables)]
    return "\n".join([*shared, *tables, *_rotations(variables)])


def _settings(variables: Iterable[Variable]) -> list[str]:
    """Return the section on settings, if the application has any."""
    names = [f"`{item.name}`" for item in variables if item.setting]
    return [SETTINGS.format(", ".join(names))] if names else []


def _described(variables: Iterable[Variable]) -> str:
    rows = [
        [
            f"`{item.name}`",
            plain(item.about),
            _asked(item),
            _defaults(item),
            plain(item.owner),
            plain(item.rotation.every if item.rotation else ""),
            plain(item.storage),
        ]
        for item in variables
    ]
    head = ["variable", "about", "type", "default", "owner", "rotation", "storage in production"]
    return _table(head, rows)


def _rotations(variables: Sequence[Variable]) -> list[str]:
    """Return the section on rotation, if anything here is to be rotated."""
    rows = [
        [f"`{item.name}`", plain(item.rotation.every), plain(item.rotation.how)]
        for item in variables
        if item.rotation
    ]
    how = ROTATION if has_room("secret/rotation") else ""
    return [f"## Rotation\n\n{how}{_table(['variable', 'every', 'how'], rows)}"] if rows else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plain(text: str) -> str:
    """Write what stands in a cell; a table's bars are escaped."""
    return text.replace("|", "\\|") or "-"


def _asked(variable: Variable) -> str:
    """Say what a value has to be."""
    words = ["secret"] if variable.is_secret else []
    words += [variable.type]
    words += [f"`{plain(variable.pattern)}`"] if variable.pattern else []
    words += ["optional"] if variable.optional else []
    return ", ".join(words)


def _defaults(variable: Variable) -> str:
    """Say what holds where nobody gave a value."""
    if variable.set_by:
        return f"set by the {variable.set_by}"
    if variable.secret:
        return f"{variable.secret} random bytes, by `inv env.init`"
    default = variable.default
    known = ENGINES if {*ENGINES} & {*default} else PROFILES
    said = {name: [default[name]] if name in default else [] for name in known}
    return markdown_cell(mark_profiles(said))


def mark_profiles(items: Mapping[str, Iterable[str]]) -> tuple[ProfileEntry, ...]:
    """Return what the profiles say, and of what not all of them say, which do."""
    holders: dict[str, list[str]] = {}
    for profile, values in items.items():
        for value in values:
            holders.setdefault(value, []).append(profile)
    return tuple(
        ProfileEntry(value) if len(names) == len(items) else ProfileEntry(value, tuple(names))
        for value, names in holders.items()
        if value
    )


def markdown_cell(entries: Sequence[ProfileEntry]) -> str:
    """Write entries as one cell of a table, whose bars are escaped."""
    marks = (f" ({', '.join(entry.profiles)})" if entry.profiles else "" for entry in entries)
    shown = (f"`{entry.value}`{mark}" for entry, mark in zip(entries, marks, strict=True))
    return "<br>".join(shown).replace("|", "\\|") or "-"
