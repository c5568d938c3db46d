"""Variables: described in env/schema.toml, kept in ignored env files, read in one order."""

from __future__ import annotations

import os
import re
import secrets
import stat
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from string import Template
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

from ops.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from ops.project import Project

PROFILES = ("dev", "staging", "prod")
HIGHEST = {"port": 65535, "count": 10_000}
"""The types that are whole numbers from 1 on, and the last one of each."""
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
"""The type `time`: a time of day."""
MASK = "********"
PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):\S*@")
"""A password in a URL: it may hold anything, and ends at the last @."""
DEFAULT = "default"


@dataclass(frozen=True)
class Variable:
    """One entry of env/schema.toml."""

    name: str
    about: str
    read_by: tuple[str, ...] = ()
    default: Mapping[str, str] = field(default_factory=dict)
    type: str = "text"
    secret: int = 0
    """Strength in bytes of a value made at random; 0 for what is no secret."""
    given: bool = False
    """A secret that somebody else gives, such as a provider: it is never made at random."""
    optional: bool = False
    """Nothing is missing where it has no value."""


@dataclass(frozen=True)
class Value:
    """What a variable holds, and where that came from."""

    name: str
    value: str
    source: str
    secret: bool

    @property
    def shown(self) -> str:
        """The value as it may be printed."""
        return MASK if self.secret else without_password(self.value)


def without_password(url: str) -> str:
    """Write a URL as it may be printed."""
    return PASSWORD.sub(rf"\1:{MASK}@", url)


def profile_name(asked: str) -> str:
    """Return the profile that is meant: what was asked for, else APP_ENV, else dev.

    Raises:
        Refused: there is no such profile.
    """
    name = asked or os.environ.get("APP_ENV") or PROFILES[0]
    if name not in PROFILES:
        raise Refused(
            f"there is no profile {name!r}", f"choose one of: {', '.join(PROFILES)}", code=2
        )
    return name


def schema(project: Project) -> list[Variable]:
    """Read every variable's description.

    Raises:
        Refused: the file is missing, is not TOML, or an entry has an unknown or a missing key.
    """
    path = project.schema
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return [_variable(name, entry) for name, entry in tables.items()]
    except (OSError, tomllib.TOMLDecodeError, TypeError, AttributeError) as error:
        raise Refused(
            f"{path}: {error}", "the top of env/schema.toml says what an entry may hold"
        ) from error


def _variable(name: str, entry: dict[str, Any]) -> Variable:
    default = entry.pop("default", {})
    if isinstance(default, str):
        default = dict.fromkeys(PROFILES, default)
    read_by = tuple(entry.pop("read_by", ()))
    try:
        return Variable(name, read_by=read_by, default=default, **entry)
    except TypeError as error:
        message = f"[{name}] {str(error).replace('Variable.__init__() ', '')}"
        raise TypeError(message) from error


def init(project: Project, profile: str) -> Path | None:
    """Write a profile's secrets into its env file; leave a file that exists alone.

    The file is complete before it has its name, and readable by its owner only.
    Returns its path, or None when it was there already.
    """
    path = project.env_file(profile)
    if path.exists():
        return None
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(env_text(schema(project), profile))
        os.link(partial, path)  # unlike a rename, never over a file that appeared meanwhile
    except FileExistsError:
        return None
    finally:
        partial.unlink()
    return path


def env_text(variables: list[Variable], profile: str) -> str:
    """Write the text of a new env file: secrets at random, the rest named with its default."""
    head = [
        f"# Values of the profile {profile} on this machine. Not for git: it holds secrets.",
        "# Every variable is explained in env/schema.toml; the environment wins over this file.",
    ]
    return "\n\n".join(["\n".join(head), *(_entry(item, profile) for item in variables)]) + "\n"


def _entry(variable: Variable, profile: str) -> str:
    if variable.secret:
        line = f"{variable.name}={secrets.token_urlsafe(variable.secret)}"
    elif profile in variable.default:
        line = f"# {variable.name}={variable.default[profile]}"
    elif variable.optional:
        line = f"# {variable.name}="
    else:
        line = f"{variable.name}="
    return f"# {variable.about}\n{line}"


def effective(project: Project, profile: str) -> list[Value]:
    """Return each variable that has a value, resolved, with its source.

    Raises:
        Refused: the schema cannot be read, or a default names an unknown variable.
    """
    path = project.env_file(profile)
    written = dotenv_values(path, interpolate=False) if path.is_file() else {}
    places: dict[str, Mapping[str, str | None]] = {"environment": os.environ, path.name: written}
    given = {item.name: _given(item, profile, places) for item in schema(project)}
    # The profile was chosen already: a stale APP_ENV in a file must not contradict it.
    given["APP_ENV"] = Value("APP_ENV", profile, "--profile", secret=False)
    held = {name: value for name, value in given.items() if value}
    resolved = (_resolved(value, held, given, project.schema) for value in held.values())
    return [value for value in resolved if value]


def _given(
    variable: Variable, profile: str, places: Mapping[str, Mapping[str, str | None]]
) -> Value | None:
    """Return what the first place that knows a variable says, else its default."""
    secret = bool(variable.secret) or variable.given
    for source, values in places.items():
        if value := values.get(variable.name):
            return Value(variable.name, value, source, secret)
    default = variable.default.get(profile)
    return Value(variable.name, default, DEFAULT, secret) if default else None


def _resolved(
    value: Value, held: Mapping[str, Value], known: Container[str], schema_file: Path
) -> Value | None:
    """Fill in the variables that a default names; what people gave is taken literally.

    A default that names a secret is one, and a default that names what has no value is none.
    """
    if value.source != DEFAULT:
        return value
    template = Template(value.value)
    named = template.get_identifiers()
    strange = [name for name in named if name not in known]
    if strange:
        raise Refused(f"{schema_file}: the default of {value.name} names {', '.join(strange)}")
    if any(name not in held for name in named):
        return None
    text = template.substitute({name: held[name].value for name in named})
    return Value(value.name, text, DEFAULT, any(held[name].secret for name in named))


def held(project: Project, profile: str) -> dict[str, str]:
    """Return the effective values, as complete as they are."""
    return {value.name: value.value for value in effective(project, profile)}


def missing(project: Project, profile: str) -> list[Variable]:
    """Return the variables that need a value, and have neither one nor a default."""
    known = held(project, profile)
    required = (variable for variable in schema(project) if not variable.optional)
    return [variable for variable in required if variable.name not in known]


def wrong(project: Project, profile: str) -> list[str]:
    """Say of each value that is not of its variable's type what it should be, and where it is."""
    types = {variable.name: variable.type for variable in schema(project)}
    return [
        f"{item.name} should be {should}, not {item.shown!r} ({item.source})"
        for item in effective(project, profile)
        if (should := _should(types[item.name], item.value))
    ]


def _should(kind: str, text: str) -> str:
    """Say what a value of a type should be; nothing where it is."""
    if kind == "time":
        return "" if TIME.fullmatch(text) else "a time of day (00:00 to 23:59)"
    highest = HIGHEST.get(kind)
    if not highest or (text.isascii() and text.isdigit() and 1 <= int(text) <= highest):
        return ""
    return f"a {kind} (1 to {highest})"


def unknown(project: Project, profile: str) -> list[str]:
    """Name what a profile's env file sets that no one reads, with what was probably meant."""
    path = project.env_file(profile)
    names = [variable.name for variable in schema(project)]
    found = dotenv_values(path, interpolate=False) if path.is_file() else {}
    strange = [name for name in found if name not in names]
    meant = {name: get_close_matches(name, names, 1) for name in strange}
    return [f"{name} (did you mean {near[0]}?)" if near else name for name, near in meant.items()]


def require(project: Project, profile: str) -> dict[str, str]:
    """Return the effective values.

    Raises:
        Refused: one or more variables have no value, or one of a wrong type; each is named.
    """
    bad = wrong(project, profile)
    if bad:
        raise Refused("\n".join(bad), "inv env.show", code=2)
    absent = missing(project, profile)
    if absent:
        listed = "".join(f"\n  {item.name}: {item.about}" for item in absent)
        path = project.env_file(profile)
        fix = f"set them in {path}" if path.exists() else f"inv env.init --profile {profile}"
        raise Refused(f"profile {profile}: no value for{listed}", fix)
    return held(project, profile)
