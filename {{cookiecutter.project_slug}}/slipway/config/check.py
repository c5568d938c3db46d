"""What is wrong with variables: in the schema, an env file, and in who uses them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slipway.config import envfile, schema, usage
from slipway.config import values as config_values
from slipway.config.schema import FILE, PROFILES
from slipway.config.values import DEFAULT
from slipway.core.errors import Finding, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from slipway.config.envfile import EnvFile
    from slipway.config.schema import Variable
    from slipway.config.values import Value
    from slipway.core.project import Project

LIKENESS = 0.75
"""How like a variable a name must look to be taken for a misspelling of it."""
PLACEHOLDER = re.compile(
    r"""<.*> | \.{3,} | x{3,} | .*(?:change|replace)[-_ ]?(?:me|this).* | (?:fill|put)[-_ ].*
    | (?:to-?do|tbd|fixme|placeholder|dummy|example|secret|password)\d* | your[-_ ].*
    | .*\.example\b.* | .*\bexample\.(?:com|net|org)\b.*""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def checks(project: Project, profile: str, engine: str) -> Iterator[Finding]:
    """Check the schema, a profile's env file and values, and who uses which variable.

    Where the schema has mistakes, they are told alone.
    """
    try:
        seen = usage.find_usage(project)
        reading = schema.SchemaReader(project, seen.services)
    except Refused as error:
        yield Finding("schema", "fail", error.what.partition("\n")[0], error.fix)
        return
    for item in reading.mistakes:
        yield Finding("schema", "fail", str(item), f"edit {FILE}:{item.line}")
    if not reading.mistakes:
        yield from ProfileCheck(project, (profile, engine), reading.variables).findings()
        yield from usage.findings(seen, reading.variables)


def secrets_in_use(project: Project, profile: str, engine: str) -> dict[str, str]:
    """Return the secrets that somebody gave; none where the env file cannot be read."""
    try:
        values = config_values.effective_values(project, profile, engine)
    except Refused:
        return {}
    return {
        item.name: item.value
        for item in values
        if item.secret and item.source != DEFAULT and not is_placeholder(item.value)
    }


def list_findings(found: Iterable[Finding]) -> str:
    """List findings in a message, each with what to type."""
    return "".join(f"\n  {item.detail}\n    -> {item.fix}" for item in found)


def check_text(project: Project, profile: str, text: str) -> list[Finding]:
    """Look at what an env file is to say, before it does."""
    where = (profile, config_values.usual_engine(project, profile))
    looked = ProfileCheck(project, where, schema.read(project))
    return [*looked.of(envfile.parsed(text))]


def refuse_unfit(project: Project, profile: str, text: str) -> None:
    """Let git keep no env file with placeholders, or with lines that tools read differently.

    What has no value may come from elsewhere.

    Raises:
        Refused: there are some; each is named.
    """
    found = [item for item in check_text(project, profile, text) if item.state == "fail"]
    if unfit := [item for item in found if item.check in {"line", "placeholder"}]:
        raise Refused(f"fix this first:{list_findings(unfit)}", code=2)


def refuse_placeholders(project: Project, profile: str) -> None:
    """Let no placeholder into an env file of a server.

    Raises:
        Refused: there are some; each is named.
    """
    found = checks(project, profile, config_values.usual_engine(project, profile))
    if placeholders := [one for one in found if one.check == "placeholder" and one.state == "fail"]:
        raise Refused(f"placeholders to replace:{list_findings(placeholders)}", code=2)


def is_placeholder(value: str) -> bool:
    """Say whether a value stands for one that has still to be given."""
    return bool(PLACEHOLDER.fullmatch(value))


class ProfileCheck:
    """The values of one profile, as they are looked at."""

    def __init__(self, project: Project, where: tuple[str, str], variables: list[Variable]) -> None:
        """Take what the schema describes for a profile on an engine; nothing is read yet."""
        profile, self.engine = where
        self.project = project
        self.root = project.root
        self.path: Path = project.env_file(profile)
        self.profile = profile
        self.variables = {variable.name: variable for variable in variables}

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the file, its lines and the values."""
        try:
            file = envfile.read(self.path)
        except Refused as error:
            yield Finding("file", "fail", error.what, error.fix)
            return
        yield from self._file()
        yield from self.of(file)

    def of(self, file: EnvFile) -> Iterator[Finding]:
        """Yield what is wrong with lines and values."""
        values = self._values(file)
        yield from self._lines(file)
        yield from self._unknown(file)
        yield from self._missing(file, values)
        yield from self._wrong(file, values)

    def _values(self, file: EnvFile) -> list[Value]:
        files = {self.path.name: file.values}
        variables = [*self.variables.values()]
        return config_values.resolve_values(variables, self.profile, self.engine, files)

    def _at(self, file: EnvFile, name: str) -> str:
        """Return where a variable is set, the last time."""
        numbers = [line.number for line in file.lines if line.name == name]
        return f"{self.path.name}:{numbers[-1]}" if numbers else self.path.name

    def _file(self) -> Iterator[Finding]:
        name = self.path.name
        if self.path.is_file() and self.path.stat().st_mode & 0o077:
            yield Finding("file", "fail", f"other users can read {name}", f"chmod 600 {name}")

    def _lines(self, file: EnvFile) -> Iterator[Finding]:
        """Find lines that tools read differently, and variables that are set twice."""
        first: dict[str, int] = {}
        for line in [*file.problems, *file.lines]:
            place = f"{self.path.name}:{line.number}"
            if line.problem:
                yield Finding("line", "fail", f"{place}: {line.problem}", f"edit {place}")
            if line.name in first:
                detail = f"{place}: {line.name} is set in line {first[line.name]} too"
                yield Finding("line", "fail", detail, "remove one of the two lines")
            elif line.name:
                first[line.name] = line.number

    def _unknown(self, file: EnvFile) -> Iterator[Finding]:
        """Find names that nobody reads; on a server, one that is like a variable fails."""
        for name in file.values:
            if name not in self.variables:
                meant = schema.did_you_mean(name, self.variables, LIKENESS)
                detail = f"{self._at(file, name)}: nothing reads {name}{meant}"
                right = meant.removeprefix("; did you mean ").removesuffix("?")
                fix = f"write {right}" if meant else f"remove it, or describe it in {FILE}"
                fails = meant and self.profile != schema.PROFILES[0]
                yield Finding("unknown", "fail" if fails else "warn", detail, fix)

    def _missing(self, file: EnvFile, values: list[Value]) -> Iterator[Finding]:
        where = (self.profile, self.engine)
        for variable in config_values.absent_variables([*self.variables.values()], where, values):
            detail = f"{variable.name} has no value: {variable.about}"
            yield Finding("missing", "fail", detail, self._what_to_type(file, variable))
        by_default = {value.name for value in values if value.source == DEFAULT}
        for name, value in file.values.items():
            if not value and name in by_default:
                detail = f"{self._at(file, name)}: {name} is empty, so its default applies"
                yield Finding("empty", "warn", detail, "remove the line, or give it a value")

    def _what_to_type(self, file: EnvFile, variable: Variable) -> str:
        """Return what gives a variable a value."""
        name, path = variable.name, self.path.name
        if not self.path.is_file():
            return config_values.how_to_make(self.project, self.profile)
        if name in file.values:
            return self._how_to_edit(file, variable)
        if variable.secret:
            made = f"'{name}=' + secrets.token_urlsafe({variable.secret})"
            return f'python -c "import secrets; print({made})" >> {path}'
        return f"add to {path}: {name}={variable.example or '...'}"

    def _how_to_edit(self, file: EnvFile, variable: Variable) -> str:
        """Return which line to change, and to what."""
        place = self._at(file, variable.name)
        if variable.secret:
            made = f"print(secrets.token_urlsafe({variable.secret}))"
            return f"edit {place}: python -c 'import secrets; {made}'"
        such = f", such as {variable.name}={variable.example}" if variable.example else ""
        return f"edit {place}{such}"

    def _wrong(self, file: EnvFile, values: list[Value]) -> Iterator[Finding]:
        """Find placeholders, and values that are not as the schema asks for."""
        bad = {
            value.name: should
            for value, should in config_values.wrong_values([*self.variables.values()], values)
        }
        for value in values:
            given = value.source != DEFAULT and value.name in self.variables
            if given and is_placeholder(value.value):
                state = "warn" if self.profile == PROFILES[0] and value.name not in bad else "fail"
                detail = f"{value.name} is a placeholder ({value.source})"
                yield Finding("placeholder", state, detail, self._how_to_fix(file, value))
            elif value.name in bad:
                detail = config_values.describe_problem(value, bad[value.name])
                yield Finding("value", "fail", detail, self._how_to_fix(file, value))

    def _how_to_fix(self, file: EnvFile, value: Value) -> str:
        variable = self.variables[value.name]
        if value.source == "environment":
            return f"unset {value.name}, or set it otherwise"
        if value.source == DEFAULT:
            return f"edit {FILE}:{variable.line}"
        return self._how_to_edit(file, variable)
