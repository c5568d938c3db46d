"""What is wrong with variables: in the schema, an env file, git, and in who uses them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slipway.config import envfile, schema, usage
from slipway.config import values as config_values
from slipway.config.schema import FILE, LOCAL, PROFILES
from slipway.config.values import DEFAULT
from slipway.core.errors import Finding, Refused
from slipway.secret import encrypted_env, rotation, scan_git, scan_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from slipway.config.envfile import EnvFile
    from slipway.config.schema import Variable
    from slipway.config.values import Value
    from slipway.core.project import Project

QUICK, THOROUGH = 5.0, 60.0
"""Seconds that the search through git may take: before every deployment, and when asked for."""
LAYERS = 60.0
"""Seconds that the search through images may take."""
LIKENESS = 0.75
"""How like a variable a name must look to be taken for a misspelling of it."""
PLACEHOLDER = re.compile(
    r"""<.*> | \.{3,} | x{3,} | .*(?:change|replace)[-_ ]?(?:me|this).* | (?:fill|put)[-_ ].*
    | (?:to-?do|tbd|fixme|placeholder|dummy|example|secret|password)\d* | your[-_ ].*
    | .*\.example\b.* | .*\bexample\.(?:com|net|org)\b.*""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def examine(
    project: Project, profile: str, engine: str = "", limit: float = QUICK
) -> list[Finding]:
    """Look at everything that concerns a profile; where nothing is wrong, say that.

    Without an engine it is the one in use, or that the profile usually runs on. The search through
    git takes `limit` seconds at most; layers of images are searched where there is time.
    """
    try:
        seen = usage.used(project)
        reading = schema.Reading(project, seen.services)
    except Refused as error:
        return [Finding("schema", "fail", error.what.partition("\n")[0], error.fix)]
    if reading.mistakes:
        return [
            Finding("schema", "fail", str(item), f"edit {FILE}:{item.line}")
            for item in reading.mistakes
        ]
    engine = engine or config_values.usual_engine(project, profile)
    found = [*Profile(project, (profile, engine), reading.variables).findings(limit)]
    found += usage.findings(seen, reading.variables)
    found += rotation.checks(project.root, profile)
    name = project.env_file(profile).name
    return found or [Finding("env", "ok", f"{name}: every variable has a value")]


def failures(project: Project, profile: str, engine: str = "") -> list[Finding]:
    """Return what a deployment must not go on with."""
    return [item for item in examine(project, profile, engine) if item.state == "fail"]


def refuse(project: Project, profile: str, engine: str) -> None:
    """Stop before anything is touched.

    Raises:
        Refused: something fails; all of it is listed, each with what to type.
    """
    if found := failures(project, profile, engine):
        listed = "".join(f"\n  {item.detail}\n    -> {item.fix}" for item in found)
        raise Refused(f"profile {profile} is not ready:{listed}", code=2)


def of_text(project: Project, profile: str, text: str) -> list[Finding]:
    """Look at what an env file is to say, before it does."""
    where = (profile, config_values.usual_engine(project, profile))
    looked = Profile(project, where, schema.read(project))
    return [*looked.of(envfile.parsed(text))]


def refuse_unfit(project: Project, profile: str, text: str) -> None:
    """Let git keep no env file with placeholders, or with lines that tools read differently.

    What has no value may come from elsewhere.

    Raises:
        Refused: there are some; each is named.
    """
    found = [item for item in of_text(project, profile, text) if item.state == "fail"]
    if unfit := [item for item in found if item.check in {"line", "placeholder"}]:
        listed = "".join(f"\n  {item.detail}\n    -> {item.fix}" for item in unfit)
        raise Refused(f"still to be mended:{listed}", code=2)


def refuse_placeholders(project: Project, profile: str) -> None:
    """Let no placeholder into an env file of a server.

    Raises:
        Refused: there are some; each is named.
    """
    found = [item for item in failures(project, profile) if item.check == "placeholder"]
    if found:
        listed = "".join(f"\n  {item.detail}\n    -> {item.fix}" for item in found)
        raise Refused(f"still to be replaced:{listed}", code=2)


def placeholder(value: str) -> bool:
    """Say whether a value stands for one that has still to be given."""
    return bool(PLACEHOLDER.fullmatch(value))


class Profile:
    """The values of one profile, as they are looked at."""

    def __init__(self, project: Project, where: tuple[str, str], variables: list[Variable]) -> None:
        """Take what the schema describes for a profile on an engine; nothing is read yet."""
        profile, self.engine = where
        self.project = project
        self.root = project.root
        self.path: Path = project.env_file(profile)
        self.profile = profile
        self.variables = {variable.name: variable for variable in variables}

    def findings(self, limit: float) -> Iterator[Finding]:
        """Yield what is wrong with the file, its lines and the values; then where git has them."""
        try:
            file = envfile.read(self.path)
        except Refused as error:
            yield Finding("file", "fail", error.what, error.fix)
            return
        yield from self._file()
        yield from self._sealed()
        yield from self.of(file)
        values = self._values(file)
        given = {
            value.name: value.value
            for value in values
            if value.secret and value.source != DEFAULT and not placeholder(value.value)
        }
        yield from self._in_git(given, limit)
        yield from self._in_engine(values, given, limit)

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
        return config_values.resolved(variables, self.profile, self.engine, files)

    def _at(self, file: EnvFile, name: str) -> str:
        """Return where a variable is set, the last time."""
        numbers = [line.number for line in file.lines if line.name == name]
        return f"{self.path.name}:{numbers[-1]}" if numbers else self.path.name

    def _file(self) -> Iterator[Finding]:
        name = self.path.name
        if self.path.is_file() and self.path.stat().st_mode & 0o077:
            yield Finding("file", "fail", f"other users can read {name}", f"chmod 600 {name}")
        if scan_git.is_tracked(self.root, name):
            fix = f"git rm --cached {name}, then replace every secret in it"
            yield Finding("file", "fail", f"git tracks {name}", fix)

    def _sealed(self) -> Iterator[Finding]:
        """Find what git keeps encrypted, and is not what holds."""
        if found := encrypted_env.find_difference(self.project, self.profile):
            yield Finding("sealed", "warn", *found)

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
        """Find names that nobody reads: those that look like a variable are taken for one."""
        for name in file.values:
            if name not in self.variables:
                meant = schema.hint(name, self.variables, LIKENESS)
                detail = f"{self._at(file, name)}: nothing reads {name}{meant}"
                right = meant.removeprefix("; did you mean ").removesuffix("?")
                fix = f"write {right}" if meant else f"remove it, or describe it in {FILE}"
                yield Finding("unknown", "fail" if meant else "warn", detail, fix)

    def _missing(self, file: EnvFile, values: list[Value]) -> Iterator[Finding]:
        where = (self.profile, self.engine)
        for variable in config_values.absent([*self.variables.values()], where, values):
            detail = f"{variable.name} has no value: {variable.about}"
            yield Finding("missing", "fail", detail, self._what_to_type(file, variable))
        by_default = {value.name for value in values if value.source == DEFAULT}
        for name, value in file.values.items():
            if not value and name in by_default:
                detail = f"{self._at(file, name)}: {name} is empty, so its default holds"
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
            for value, should in config_values.wrong([*self.variables.values()], values)
        }
        for value in values:
            given = value.source != DEFAULT and value.name in self.variables
            if given and placeholder(value.value):
                state = "warn" if self.profile == PROFILES[0] and value.name not in bad else "fail"
                detail = f"{value.name} is a placeholder ({value.source})"
                yield Finding("placeholder", state, detail, self._how_to_mend(file, value))
            elif value.name in bad:
                detail = config_values.said(value, bad[value.name])
                yield Finding("value", "fail", detail, self._how_to_mend(file, value))

    def _how_to_mend(self, file: EnvFile, value: Value) -> str:
        variable = self.variables[value.name]
        if value.source == "environment":
            return f"unset {value.name}, or set it otherwise"
        if value.source == DEFAULT:
            return f"edit {FILE}:{variable.line}"
        return self._how_to_edit(file, variable)

    def _in_git(self, given: Mapping[str, str], limit: float) -> Iterator[Finding]:
        """Find secrets that git keeps; what it has once had in a commit is no secret any more."""
        search = scan_git.search_git(self.root, given, limit)
        for name, place in search.found.items():
            detail = f"the value of {name} is in git: {place}"
            yield Finding("git", "fail", detail, f"replace {name}: git keeps the old value")
        if search.left_out:
            detail = f"not all that git keeps was searched for secrets: {search.left_out}"
            fix = f"inv env.check --profile {self.profile}, which searches longer"
            yield Finding("git", "warn", detail, fix if limit < THOROUGH else "git status")

    def _in_engine(
        self, values: list[Value], given: Mapping[str, str], limit: float
    ) -> Iterator[Finding]:
        """Find secrets that a container engine shows, where it is what the profile runs on.

        An image carries them to wherever it goes. A container is replaced by the next deployment,
        which nothing found in one must stop.
        """
        if self.engine == LOCAL:
            return
        thorough = limit >= THOROUGH
        held = {value.name: value.value for value in values}
        search = scan_images.search_images(self.project, held, given, LAYERS if thorough else 0)
        for name, place, service in search.found:
            detail = f"the value of {name} can be read in {place}"
            if not service:
                yield Finding("image", "fail", detail, f"inv env.rotate {name}: replace the value")
            elif service in self.variables[name].read_by:
                yield Finding("container", "warn", detail, "inv deploy.up hands it over as a file")
            else:
                fix = f"edit its compose file: {service} does not read {name}, by {FILE}"
                yield Finding("container", "fail" if thorough else "warn", detail, fix)
        if search.left_out:
            detail = f"not every layer was searched for secrets: {search.left_out}"
            fix = f"inv env.check --profile {self.profile}, which goes on from here"
            yield Finding("image", "warn", detail, fix)
