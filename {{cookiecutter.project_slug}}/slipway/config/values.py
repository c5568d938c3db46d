"""Values: the environment, then a profile's env file, then the defaults of env/schema.toml."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from slipway.config import envfile, reference, schema
from slipway.config.schema import COMPOSE, ENGINES, LOCAL, PROFILES, TASKS
from slipway.core import redaction
from slipway.core.errors import Refused
from slipway.core.transaction import change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slipway.config.schema import Variable
    from slipway.core.project import Project

PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):\S*@")
"""A password in a URL: it may hold anything, and ends at the last @."""
DEFAULT = "default"
FILE_SUFFIX = "_FILE"
"""Of a variable that names the file with another one's value, as official images have it."""


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
        return redaction.MASK if self.secret else without_password(self.value)


def without_password(url: str) -> str:
    """Write a URL as it may be printed."""
    return PASSWORD.sub(rf"\1:{redaction.MASK}@", url)


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


def engine_in_use(project: Project) -> str:
    """Return the engine that the stack was last brought up on; empty when it was taken down."""
    return next((word for word in project.stack_note if word in ENGINES), "")


def profile_in_use(project: Project) -> str:
    """Return the profile that the stack was last brought up with; empty when it was taken down."""
    return next((word for word in project.stack_note if word in PROFILES), "")


def refuse_hidden(project: Project, profile: str) -> None:
    """Refuse to generate new secrets where the existing ones are there, but only encrypted.

    Raises:
        Refused: they are.
    """
    encrypted = project.encrypted_env_file(profile)
    if encrypted.exists() and not project.env_file(profile).exists():
        name = encrypted.relative_to(project.root)
        what = f"the values of the profile {profile} are in {name}: no new secrets are generated"
        raise Refused(what, how_to_decrypt(profile), code=2)


def how_to_make(project: Project, profile: str) -> str:
    """Return what to type where a profile has no env file."""
    encrypted = project.encrypted_env_file(profile).exists()
    return how_to_decrypt(profile) if encrypted else f"inv env.init --profile {profile}"


def how_to_decrypt(profile: str) -> str:
    """Return what to type to get the env file that git keeps encrypted."""
    return f"inv env.decrypt --profile {profile} --identity FILE"


def create_env_file(project: Project, profile: str) -> Path | None:
    """Write a profile's secrets into its env file; leave a file that exists alone.

    Returns its path, or None when it was there already.

    Raises:
        Refused: its secrets are there, encrypted, or it cannot be written.
    """
    path = project.env_file(profile)
    if path.exists():
        return None
    refuse_hidden(project, profile)
    variables = schema.read(project)
    names = reference.generated_secrets(variables, profile)
    with change(project.root, "env.init", profile=profile, names=names):
        return path if envfile.create(path, reference.env_file(variables, profile)) else None


def effective_values(project: Project, profile: str, engine: str = "") -> list[Value]:
    """Return each variable that has a value, resolved, with its source.

    Without an engine, the defaults are those of the one in use, or of the one that a profile is
    usually run on.

    Raises:
        Refused: the schema, the env file, or a file that a variable names cannot be read.
    """
    path = project.env_file(profile)
    files = {path.name: envfile.read(path).values}
    return resolve_values(
        schema.read(project), profile, engine or usual_engine(project, profile), files
    )


def usual_engine(project: Project, profile: str) -> str:
    """Name the engine in use; where none is, processes for dev and containers for a server."""
    return engine_in_use(project) or (LOCAL if profile == PROFILES[0] else COMPOSE)


def environment_values(variables: Iterable[Variable]) -> dict[str, str]:
    """Return what the environment says of variables, itself or by naming a file.

    Raises:
        Refused: it does both for one, or a file cannot be read.
    """
    found = {}
    for name in (item.name for item in variables):
        value, path = os.environ.get(name, ""), os.environ.get(name + FILE_SUFFIX, "")
        if path and (describe_problem := read_file(name, path)):
            if value:
                what = f"{name} and {name}{FILE_SUFFIX} are both set"
                raise Refused(what, f"unset one of the two: {name} or {name}{FILE_SUFFIX}", code=2)
            value = describe_problem
        if value:
            found[name] = value
    return found


def read_file(name: str, path: str) -> str:
    """Return the value that a file holds, without the newline that an editor left at its end.

    Raises:
        Refused: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        what = f"{name}{FILE_SUFFIX} names {path}, which cannot be read: {reason}"
        raise Refused(what, f"correct or unset {name}{FILE_SUFFIX}", code=2) from error


def resolve_values(
    variables: list[Variable], profile: str, engine: str, files: Mapping[str, Mapping[str, str]]
) -> list[Value]:
    """Return each variable that has a value: of the environment, of a file, or by default.

    From then on no secret among them is printed.

    Raises:
        Refused: a file that the environment names cannot be read.
    """
    settable = [item for item in variables if item.set_by != TASKS]
    places = {"environment": environment_values(settable), **files}
    where = (profile, engine)
    given = {item.name: _given(item, where, places) for item in settable}
    # The profile was chosen already: a stale APP_ENV in a file must not contradict it.
    given["APP_ENV"] = Value("APP_ENV", profile, "--profile", secret=False)
    read_values = {name: value for name, value in given.items() if value}
    found = [value for item in read_values.values() if (value := _resolved(item, read_values))]
    redaction.remember_secrets(value.value for value in found if value.shown != value.value)
    return found


def _given(
    variable: Variable, where: tuple[str, str], places: Mapping[str, Mapping[str, str]]
) -> Value | None:
    """Return what the first place that knows a variable says, else its default there."""
    for source, values in places.items():
        if value := values.get(variable.name):
            return Value(variable.name, value, source, variable.is_secret)
    default = variable.default_in(*where)
    return Value(variable.name, default, DEFAULT, variable.is_secret) if default else None


def _resolved(value: Value, read_values: Mapping[str, Value]) -> Value | None:
    """Fill in the variables that a default names; what people gave is taken literally.

    A default that names a secret is one, and a default that names what has no value is none.
    """
    if value.source != DEFAULT:
        return value
    template = Template(value.value)
    named = template.get_identifiers()
    if any(name not in read_values for name in named):
        return None
    text = template.substitute({name: read_values[name].value for name in named})
    return Value(value.name, text, DEFAULT, any(read_values[name].secret for name in named))


def read_values(project: Project, profile: str, engine: str = "") -> dict[str, str]:
    """Return the effective values, as complete as they are."""
    return {value.name: value.value for value in effective_values(project, profile, engine)}


def missing_variables(project: Project, profile: str) -> list[Variable]:
    """Return the variables that this profile needs, and that have neither a value nor a default."""
    where = (profile, usual_engine(project, profile))
    return absent_variables(schema.read(project), where, effective_values(project, *where))


def absent_variables(
    variables: list[Variable], where: tuple[str, str], values: list[Value]
) -> list[Variable]:
    """Return the variables that a profile needs on an engine and that are not among the values.

    One whose default names another of them has a value as soon as that one has.
    """
    known = {value.name for value in values}
    lacking = [item for item in variables if item.needed(where[0]) and item.name not in known]
    names = {item.name for item in lacking}
    return [
        item
        for item in lacking
        if names.isdisjoint(Template(item.default_in(*where)).get_identifiers())
    ]


def wrong_values(variables: list[Variable], values: list[Value]) -> list[tuple[Value, str]]:
    """Return each value that is not as its variable asks for, with what it should be."""
    known = {item.name: item for item in variables}
    ours = [value for value in values if value.name in known]
    return [(value, text) for value in ours if (text := known[value.name].wrong(value.value))]


def describe_problem(value: Value, should: str) -> str:
    """Write what is wrong with a value, and where that was given; no secret is in it."""
    return f"{value.name} {should}, not {value.shown!r} ({value.source})"


def require_values(project: Project, profile: str, engine: str = "") -> dict[str, str]:
    """Return the effective values.

    Raises:
        Refused: one or more variables have no value, or one of a wrong type; each is named.
    """
    engine = engine or usual_engine(project, profile)
    variables, values = schema.read(project), effective_values(project, profile, engine)
    if bad := wrong_values(variables, values):
        listed = "\n".join(describe_problem(value, should) for value, should in bad)
        raise Refused(listed, f"inv env.check --profile {profile}", code=2)
    if lacking := absent_variables(variables, (profile, engine), values):
        listed = "".join(f"\n  {item.name}: {item.about}" for item in lacking)
        path = project.env_file(profile)
        fix = f"set them in {path}" if path.exists() else how_to_make(project, profile)
        raise Refused(f"profile {profile}: no value for{listed}", fix)
    return {value.name: value.value for value in values}
