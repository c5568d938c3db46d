"""Values: the environment, then a profile's env file, then the defaults of env/schema.toml."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

from ops import derived, envfiles, schema
from ops.errors import Refused
from ops.schema import PROFILES, TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ops.project import Project
    from ops.schema import Variable

MASK = "********"
PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):\S*@")
"""A password in a URL: it may hold anything, and ends at the last @."""
DEFAULT = "default"


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


def init(project: Project, profile: str) -> Path | None:
    """Write a profile's secrets into its env file; leave a file that exists alone.

    Returns its path, or None when it was there already.
    """
    path = project.env_file(profile)
    if path.exists():
        return None
    text = derived.env_file(schema.read(project), profile)
    return path if envfiles.create(path, text) else None


def effective(project: Project, profile: str) -> list[Value]:
    """Return each variable that has a value, resolved, with its source.

    Raises:
        Refused: the schema or the env file cannot be read.
    """
    path = project.env_file(profile)
    return resolved(schema.read(project), profile, {path.name: envfiles.read(path).values})


def resolved(
    variables: list[Variable], profile: str, files: Mapping[str, Mapping[str, str]]
) -> list[Value]:
    """Return each variable that has a value: of the environment, of a file, or by default."""
    places: dict[str, Mapping[str, str]] = {"environment": os.environ, **files}
    settable = [item for item in variables if item.set_by != TASKS]
    given = {item.name: _given(item, profile, places) for item in settable}
    # The profile was chosen already: a stale APP_ENV in a file must not contradict it.
    given["APP_ENV"] = Value("APP_ENV", profile, "--profile", secret=False)
    held = {name: value for name, value in given.items() if value}
    return [value for item in held.values() if (value := _resolved(item, held))]


def _given(
    variable: Variable, profile: str, places: Mapping[str, Mapping[str, str]]
) -> Value | None:
    """Return what the first place that knows a variable says, else its default."""
    for source, values in places.items():
        if value := values.get(variable.name):
            return Value(variable.name, value, source, variable.is_secret)
    default = variable.default.get(profile)
    return Value(variable.name, default, DEFAULT, variable.is_secret) if default else None


def _resolved(value: Value, held: Mapping[str, Value]) -> Value | None:
    """Fill in the variables that a default names; what people gave is taken literally.

    A default that names a secret is one, and a default that names what has no value is none.
    """
    if value.source != DEFAULT:
        return value
    template = Template(value.value)
    named = template.get_identifiers()
    if any(name not in held for name in named):
        return None
    text = template.substitute({name: held[name].value for name in named})
    return Value(value.name, text, DEFAULT, any(held[name].secret for name in named))


def held(project: Project, profile: str) -> dict[str, str]:
    """Return the effective values, as complete as they are."""
    return {value.name: value.value for value in effective(project, profile)}


def missing(project: Project, profile: str) -> list[Variable]:
    """Return the variables that this profile needs, and that have neither a value nor a default."""
    return absent(schema.read(project), profile, effective(project, profile))


def absent(variables: list[Variable], profile: str, values: list[Value]) -> list[Variable]:
    """Return the variables that a profile needs and that are not among the values."""
    known = {value.name for value in values}
    return [item for item in variables if item.needed(profile) and item.name not in known]


def wrong(variables: list[Variable], values: list[Value]) -> list[tuple[Value, str]]:
    """Return each value that is not as its variable asks for, with what it should be."""
    known = {item.name: item for item in variables}
    ours = [value for value in values if value.name in known]
    return [(value, text) for value in ours if (text := known[value.name].wrong(value.value))]


def said(value: Value, should: str) -> str:
    """Write what is wrong with a value, and where that was given; no secret is in it."""
    return f"{value.name} {should}, not {value.shown!r} ({value.source})"


def require(project: Project, profile: str) -> dict[str, str]:
    """Return the effective values.

    Raises:
        Refused: one or more variables have no value, or one of a wrong type; each is named.
    """
    variables, values = schema.read(project), effective(project, profile)
    if bad := wrong(variables, values):
        listed = "\n".join(said(value, should) for value, should in bad)
        raise Refused(listed, f"inv env.check --profile {profile}", code=2)
    if lacking := absent(variables, profile, values):
        listed = "".join(f"\n  {item.name}: {item.about}" for item in lacking)
        path = project.env_file(profile)
        fix = f"set them in {path}" if path.exists() else f"inv env.init --profile {profile}"
        raise Refused(f"profile {profile}: no value for{listed}", fix)
    return {value.name: value.value for value in values}
