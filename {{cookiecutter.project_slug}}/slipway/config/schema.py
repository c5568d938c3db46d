"""Variables as env/schema.toml describes them, and every mistake in that file at once."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

from slipway.config import variables
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from slipway.core.project import Project

PROFILES = ("dev", "staging", "prod")
ENGINES = LOCAL, COMPOSE = ("local", "compose")
"""What a stack can run on: processes of this machine, or containers."""
FILE = "env/schema.toml"
APPLICATION, TASKS = "application", "tasks"
SETTINGS = "BaseSettings"
"""What settings classes are made from."""
READERS = (APPLICATION, TASKS)
"""Who reads variables beside the services: the application's settings class, and slipway/."""
NAME = re.compile(r"[A-Z][A-Z0-9_]*")
PERIOD = re.compile(r"[1-9]\d{0,3} (day|week|month|year)s?")
WEAKEST = 16
"""Bytes: what is made at random is at least that strong."""


class Kind(NamedTuple):
    """A type of values: what one should be, in words, and what tells whether it is."""

    should_be: str
    holds: Callable[[str], bool]


def _up_to(highest: int) -> Callable[[str], bool]:
    return lambda text: text.isascii() and text.isdigit() and 1 <= int(text) <= highest


def _like(pattern: str) -> Callable[[str], bool]:
    return lambda text: bool(re.fullmatch(pattern, text))


TYPES = {
    "text": Kind("text", lambda _text: True),
    "port": Kind("a port (1 to 65535)", _up_to(65535)),
    "count": Kind("a count (1 to 10000)", _up_to(10_000)),
    "url": Kind("a URL (scheme://...)", _like(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")),
    "time": Kind("a time of day (00:00 to 23:59)", _like(r"([01][0-9]|2[0-3]):[0-5][0-9]")),
}


@dataclass(frozen=True)
class Rotation:
    """How often a value is to be replaced, and how."""

    every: str
    how: str


@dataclass(frozen=True)
class Variable:
    """One entry of env/schema.toml."""

    name: str
    about: str = ""
    read_by: tuple[str, ...] = ()
    default: Mapping[str, str] = field(default_factory=dict)
    type: str = "text"
    secret: int = 0
    """Strength in bytes of a generated value; 0 if it is not a secret, or is given."""
    given: bool = False
    """A secret that someone else provides, so that it is never generated."""
    optional: bool = False
    """Nothing is missing where it has no value."""
    required: tuple[str, ...] = PROFILES
    """The profiles that need a value."""
    images: bool = False
    """It names, labels or runs images: docs/env.md lists it once for all services."""
    pattern: str = ""
    owner: str = ""
    rotation: Rotation | None = None
    storage: str = ""
    """Where the value is kept in production."""
    example: str = ""
    set_by: str = ""
    """`tasks` if these compute the value: users do not set it."""
    setting: bool = False
    """A key of the application's settings, which the file need not describe."""
    line: int = field(default=0, compare=False)

    @property
    def is_secret(self) -> bool:
        """Whether the value may be printed nowhere."""
        return bool(self.secret) or self.given

    def needed(self, profile: str) -> bool:
        """Say whether a profile cannot do without a value."""
        return not self.optional and not self.set_by and profile in self.required

    def default_in(self, profile: str, engine: str) -> str:
        """Return what holds where nobody gave a value: that of the engine, else of the profile."""
        return self.default.get(engine) or self.default.get(profile, "")

    def has_default(self, profile: str) -> bool:
        """Say whether a profile has a default on every engine."""
        return profile in self.default or all(name in self.default for name in ENGINES)

    def wrong(self, value: str) -> str:
        """Say what a value should be, where it is not; the value is not in it."""
        kind = TYPES[self.type]
        if not kind.holds(value):
            return f"should be {kind.should_be}"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"should match {self.pattern}"
        return ""


KEYS = [item.name for item in fields(Variable) if item.name not in {"name", "setting", "line"}]


class Mistake(NamedTuple):
    """Something wrong in the file, and the line where it is."""

    line: int
    what: str

    def __str__(self) -> str:
        """Write it as compilers do."""
        return f"{FILE}:{self.line}: {self.what}"


def read(project: Project) -> list[Variable]:
    """Read every variable's description.

    Raises:
        Refused: the file is missing or is not TOML, or entries have mistakes: all are listed.
    """
    reading = SchemaReader(project)
    if reading.mistakes:
        raise Refused("\n".join(map(str, reading.mistakes)), f"edit {FILE}")
    return reading.variables


def settings_keys(path: Path) -> frozenset[str]:
    """Return the keys of a module's settings classes, as variables; without importing it."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds, keys = {SETTINGS}, set()
    for item in tree.body:
        if isinstance(item, ast.ClassDef) and kinds & {*map(ast.unparse, item.bases)}:
            kinds.add(item.name)
            fields = (one for one in item.body if isinstance(one, ast.AnnAssign))
            keys |= {one.target.id.upper() for one in fields if isinstance(one.target, ast.Name)}
    return frozenset(keys)


def read_by(described: Iterable[Variable]) -> dict[str, list[str]]:
    """Return the variables that each reader reads, but for those that the tasks work out."""
    found: dict[str, list[str]] = {}
    for item in described:
        for reader in item.read_by if not item.set_by else ():
            found.setdefault(reader, []).append(item.name)
    return found


def did_you_mean(name: str, known: Collection[str], likeness: float = 0.6) -> str:
    """Return "; did you mean ...?" where a known name looks alike, else an empty text."""
    meant = get_close_matches(name, list(known), 1, likeness)
    return f"; did you mean {meant[0]}?" if meant else ""


class SchemaReader:
    """What the file says, and what is wrong in it."""

    def __init__(self, project: Project, services: Collection[str] | None = None) -> None:
        """Read the file; with `services`, those who read a variable have to be among them.

        Raises:
            Refused: the file is missing or is not TOML.
        """
        self.readers = None if services is None else [*services, *READERS]
        try:
            text = project.schema.read_text(encoding="utf-8")
            tables = tomllib.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise Refused(f"{FILE}: {error}", f"edit {FILE}") from error
        self.lines = _lines(text)
        self.found: list[Mistake] = []
        entries = {name: entry for name, entry in tables.items() if isinstance(entry, dict)}
        for name in tables.keys() - entries.keys():
            self._mistake(name, "", "is no table: write [NAME], and its keys below")
        described = [self._variable(name, entry) for name, entry in entries.items()]
        settings = settings_keys(project.source / project.package / "settings.py")
        self.variables = [*described, *_undescribed(settings, described)]
        for variable in described:
            self._check(variable)

    @property
    def mistakes(self) -> list[Mistake]:
        """Every mistake, in the order of lines."""
        return sorted(self.found)

    @cached_property
    def by_name(self) -> dict[str, Variable]:
        """Every variable by its name."""
        return {variable.name: variable for variable in self.variables}

    def _mistake(self, name: str, key: str, what: str) -> None:
        line = self.lines.get((name, key)) or self.lines.get((name, ""), 1)
        self.found.append(Mistake(line, f"{name} {what}"))

    def _variable(self, name: str, entry: dict[str, Any]) -> Variable:
        """Read one entry without what is of no use in it."""
        good = {key: value for key, value in entry.items() if self._usable(name, key, value)}
        default = good.pop("default", {})
        if isinstance(default, str):
            default = dict.fromkeys(PROFILES, default)
        if rotation := good.pop("rotation", None):
            good["rotation"] = Rotation(**rotation)
        for key in ("read_by", "required"):
            if key in good:
                good[key] = tuple(good[key])
        return Variable(name, default=default, line=self.lines.get((name, ""), 1), **good)

    def _usable(self, name: str, key: str, value: object) -> bool:
        """Say whether a key is known and its value of the right form."""
        if key not in KEYS:
            self._mistake(name, key, f"has the unknown key {key!r}{did_you_mean(key, KEYS)}")
            return False
        should_be, holds = FORMS.get(key, FORMS["about"])
        if not holds(value):
            self._mistake(name, key, f"needs {should_be} as {key}")
            return False
        return True

    def _check(self, variable: Variable) -> None:
        for key, what in self._wrong(variable):
            self._mistake(variable.name, key, what)

    def _wrong(self, variable: Variable) -> Iterator[tuple[str, str]]:
        """Yield each key of an entry that contradicts something, and what."""
        if not NAME.fullmatch(variable.name):
            yield "", "is not a valid name: use capital letters, digits and _"
        if (variable.name, "about") not in self.lines:
            yield "", "has no about: describe it"
        if "\n" in variable.about:
            yield "about", "has an about of several lines: write one"
        if variable.type not in TYPES:
            yield (
                "type",
                f"has the unknown type {variable.type!r}{did_you_mean(variable.type, TYPES)}",
            )
        if variable.secret and variable.given:
            yield "given", "is both generated and given by someone else: remove secret or given"
        if variable.set_by not in ("", TASKS):
            yield "set_by", f"is set by {variable.set_by!r}: only {TASKS!r} is possible"
        if variable.rotation and not PERIOD.fullmatch(variable.rotation.every):
            every = variable.rotation.every
            yield "rotation", f"is rotated every {every!r}: write a period such as '90 days'"
        yield from self._wrong_names(variable)
        yield from self._wrong_requirement(variable)
        if not (problem := _broken(variable.pattern)):
            yield from self._wrong_values(variable)
        else:
            yield "pattern", f"has an invalid pattern: {problem}"

    def _wrong_names(self, variable: Variable) -> Iterator[tuple[str, str]]:
        """Find services and profiles that do not exist."""
        for name in variable.read_by if self.readers is not None else ():
            if name not in (known := self.readers or []):
                yield (
                    "read_by",
                    f"is read by {name!r}, which is not a service{did_you_mean(name, known)}",
                )
        for name in (one for one in variable.required if one not in PROFILES):
            what = f"the unknown profile {name!r}{did_you_mean(name, PROFILES)}"
            yield "required", f"has a required for {what}"
        places = (*PROFILES, *ENGINES)
        for name in (one for one in variable.default if one not in places):
            what = f"{name!r}, which is not a profile or engine{did_you_mean(name, places)}"
            yield f"default.{name}", f"has a default for {what}"

    def _wrong_requirement(self, variable: Variable) -> Iterator[tuple[str, str]]:
        """Find what is required and is not."""
        if (variable.name, "required") not in self.lines:
            return
        if variable.optional:
            yield "optional", "is both optional and required: remove one of them"
        for profile in variable.required:
            if variable.has_default(profile):
                yield "required", f"is required in {profile}, where it has a default"

    def _wrong_values(self, variable: Variable) -> Iterator[tuple[str, str]]:
        """Find an example and defaults that the entry itself would refuse."""
        if variable.type not in TYPES:
            return
        if variable.example and (should := variable.wrong(variable.example)):
            yield "example", f"has an example that {should}"
        if variable.is_secret and variable.default:
            yield "default", "is a secret and has a default, which git would keep: remove it"
        seen = set()
        for where, text in variable.default.items():
            if text not in seen and (what := self._wrong_default(variable, where, text)):
                place = f"default.{where}"
                yield place if (variable.name, place) in self.lines else "default", what
            seen.add(text)

    def _wrong_default(self, variable: Variable, where: str, text: str) -> str:
        template = Template(text)
        if not text:
            return "has an empty default: remove it, and set optional = true"
        if not template.is_valid():
            return "has a default with a $ that names no variable: write $$ for the sign"
        values = {}
        for name in template.get_identifiers():
            if name not in self.by_name:
                return f"has a default that names {name}, which is not described" + did_you_mean(
                    name, self.by_name
                )
            named = self.by_name[name]
            values[name] = named.default.get(where) or _any_value(named)
            if Template(values[name]).get_identifiers():
                return f"has a default that names {name}, whose default names others: name those"
        should = variable.wrong(template.substitute(values))
        return f"has a default that {should}" if should else ""


def _undescribed(settings: Collection[str], described: Iterable[Variable]) -> Iterator[Variable]:
    """Yield the settings that the file does not describe, for all who read the profile.

    A key that slipway/ reads by itself is none of them: it names a file of this machine.
    """
    readers = {item.name: item.read_by for item in described}
    others = (reader for reader in readers.get("APP_ENV", ()) if reader not in READERS)
    read_by = (APPLICATION, *others)
    for name in sorted({*settings} - readers.keys() - variables.READ):
        yield Variable(name, read_by=read_by, optional=True, setting=True)


def _any_value(variable: Variable) -> str:
    """Return a value that would do."""
    return variable.example or next(iter(variable.default.values()), "x")


def _broken(pattern: str) -> str:
    """Say why a regular expression is none."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return ""


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _default(value: object) -> bool:
    held = value.values() if isinstance(value, dict) else [value]
    return all(isinstance(item, str) for item in held)


def _rotation(value: object) -> bool:
    known = isinstance(value, dict) and value.keys() == {"every", "how"}
    return known and _default(value)


FORMS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "about": ("a text in quotes", lambda value: isinstance(value, str)),
    "default": ("a text in quotes, or one for each profile or engine", _default),
    "read_by": ("a list of services", _texts),
    "required": ("a list of profiles", _texts),
    "optional": ("true or false", lambda value: isinstance(value, bool)),
    "given": ("true or false", lambda value: isinstance(value, bool)),
    "images": ("true or false", lambda value: isinstance(value, bool)),
    "secret": (
        f"a number of bytes, {WEAKEST} or more",
        lambda value: type(value) is int and value >= WEAKEST,
    ),
    "rotation": ('{every = "90 days", how = "in words"}', _rotation),
}
"""What the value of a key should be: a text, as that of `about`, where nothing else is said."""


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Find the line of every entry (its key is empty) and of every key in it."""
    found: dict[tuple[str, str], int] = {}
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        if table := re.match(r"\s*\[\s*[\"']?([^\]\"'.]+?)[\"']?\s*(?:\.\s*([\w.-]+)\s*)?\]", line):
            name = table[1]
            found.setdefault((name, ""), number)
            if table[2]:
                found.setdefault((name, table[2]), number)
        elif key := re.match(r"\s*([A-Za-z_][\w.-]*)\s*=", line):
            found.setdefault((name, key[1]) if name else (key[1], ""), number)
            found.setdefault((name, key[1].partition(".")[0]), number)
    return found
