"""What is made from the schema: new env files, .env.example and docs/env.md."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ops import envfiles
from ops.errors import Refused
from ops.inventory import cell, marked
from ops.schema import ENGINES, FILE, PROFILES, TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ops.schema import Variable

EXAMPLE = ".env.example"
PAGE = "docs/env.md"
HEAD = """\
# Variables

Every variable, by who reads it, from env/schema.toml. `inv env.docs` renews this page and
.env.example, and a test fails where it has to. The environment comes first, then `.env.<profile>`,
then the default; what has a profile or an engine in brackets holds for that one alone. `inv
env.show` prints what holds and where it came from, `inv env.check` what is wrong with it. A dash is
nothing. A service is handed what it reads and nothing else; of a secret `NAME` it gets `NAME_FILE`,
the name of the file that holds it.
"""
SECRETS = """\
## Secrets

`inv env.init` makes them, `inv env.due` says when each is to be replaced, `inv env.rotate` does it.

- `inv env.rotate NAME` shows its steps, asks, and checks after each; until the last one it goes
  back to the value before where something fails. Killed in the middle, it leaves both accepted,
  `inv env.check` tells, and the same command ends it.
- Passwords of database and Redis: no request fails, nothing is started anew. The database's other
  login takes over (`app`, `app_b`); tools of yours need `POSTGRES_LOGIN` and the new password.
- The API key: the one before opens too, for a day or for `--overlap "2 hours"`; 0 is not at all.
- What a provider gives (`BACKUP_URL_OPTIONS`) is asked for, tried, and only then used.
- Any other: the services that read it are started anew, one after the other.

Git can keep an env file encrypted with age, for whoever `env/recipients.txt` names: one `age1...`
or `ssh-ed25519 ...` a line, with `#` before comments. A clone and one key are enough to deploy.

- To begin: `inv backup.keygen --to ~/age.key` prints your line for `env/recipients.txt`. Then
  `inv env.encrypt --profile prod`, and commit both files.
- In a clone: `inv env.decrypt --profile prod --identity ~/age.key`, then `inv deploy.up`.
  `AGE_IDENTITY_FILE=~/age.key` in the environment stands for the option.
- To change a value: `inv env.edit --profile prod --identity ~/age.key`. What was changed in
  `.env.prod` itself is encrypted by `inv env.encrypt --profile prod`; a rotation does that itself.
- A new colleague sends their `age1...`: add it, then `inv env.encrypt --profile prod`.
- Who leaves could read all of it, and git keeps that: remove their line, encrypt, and rotate
  every secret.
"""


def env_file(variables: Iterable[Variable], profile: str) -> str:
    """Write a new env file: secrets at random, the rest named with its default."""
    head = [
        f"# Values of the profile {profile} on this machine. Not for git: it holds secrets.",
        f"# Every variable is explained in {FILE}; the environment wins over this file.",
    ]

    def entry(variable: Variable) -> str:
        name = variable.name
        if variable.secret and variable.needed(profile):
            return envfiles.line(name, secrets.token_urlsafe(variable.secret))
        if variable.needed(profile) and not variable.has_default(profile):
            return envfiles.line(name, "")
        defaults = {variable.default_in(profile, engine): None for engine in ENGINES}
        return "\n".join(_commented(name, text) for text in defaults)

    return _written(head, variables, entry)


def made(variables: Iterable[Variable], profile: str) -> list[str]:
    """Name the secrets that a new env file has made at random."""
    return [item.name for item in variables if item.secret and item.needed(profile)]


def example(variables: Iterable[Variable]) -> str:
    """Write .env.example: what every profile needs has a placeholder, the rest its default."""
    head = [
        "# What an env file may hold. `inv env.init --profile prod` makes one with random secrets.",
        f"# Made from {FILE} by `inv env.docs`; <...> is to be replaced.",
    ]

    def entry(variable: Variable) -> str:
        name = variable.name
        if any(variable.needed(item) and not variable.has_default(item) for item in PROFILES):
            return envfiles.line(name, placeholder(variable))
        defaults = dict.fromkeys(variable.default.values()) or {variable.example: None}
        return "\n".join(_commented(name, text) for text in defaults)

    return _written(head, variables, entry)


def _commented(name: str, text: str) -> str:
    """Write what sets a variable as a comment; a default that names others stands as it is."""
    try:
        return f"# {envfiles.line(name, text)}"
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
    settable = (item for item in variables if item.set_by != TASKS)
    paragraphs = (f"# {item.about}\n{entry(item)}" for item in settable)
    return "\n\n".join(["\n".join(head), *paragraphs]) + "\n"


def page(variables: Sequence[Variable]) -> str:
    """Write docs/env.md: a table for each reader, and how what is rotated is rotated."""
    readers = sorted({reader for item in variables for reader in item.read_by})
    tables = [_of(name, [item for item in variables if name in item.read_by]) for name in readers]
    return "\n".join([HEAD, SECRETS, *tables, _rotations(variables)])


def _of(reader: str, variables: Sequence[Variable]) -> str:
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
    return f"## {reader}\n\n{_table(head, rows)}"


def _rotations(variables: Sequence[Variable]) -> str:
    rows = [
        [f"`{item.name}`", plain(item.rotation.every), plain(item.rotation.how)]
        for item in variables
        if item.rotation
    ]
    return f"## Rotation\n\n{_table(['variable', 'every', 'how'], rows)}"


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
    return cell(marked({name: [default[name]] if name in default else [] for name in known}))
