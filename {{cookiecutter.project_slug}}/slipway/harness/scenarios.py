"""What a running stack is put through: a table of cases, read from tests/scenarios.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from string import Template
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from slipway.harness.http import Answer

FIX = "the top of tests/scenarios.yaml says what a step may hold"
DISTURBANCES = ("stop", "pause", "kill", "crash", "restart", "hide", "scale")
RESTORE = "restore"
"""A step that is just this word undoes what the steps before it disturbed."""


@dataclass(frozen=True)
class Expected:
    """What an answer has to be; what is not said may be anything.

    A text between slashes is a regular expression that has to be found.
    """

    status: tuple[int, ...] = ()
    headers: Mapping[str, Any] = field(default_factory=dict)
    json: Mapping[str, Any] = field(default_factory=dict)
    """Values by their path, such as `checks.cache.ok` or `0.id`."""
    text: str = ""
    seconds: float = 0
    """How long it may take; 0 for as long as the client waits."""
    distinct: str = ""
    """The path of a value that must be another one in each answer to the same step."""


@dataclass(frozen=True)
class Disturb:
    """Something done to the stack."""

    verb: str
    what: Any


@dataclass(frozen=True)
class Send:
    """A request, and what its answer has to be."""

    send: str
    """METHOD PATH."""
    expect: Expected
    body: Any = None
    """Sent as JSON."""
    text: str | None = None
    """Sent as it is, in place of a body."""
    size: int = 0
    """The length of a JSON text to send, in place of a body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    slowly: float = 0
    """Seconds that sending the body takes."""
    times: int = 1
    clients: int = 1
    """How many of the times are sent at once; how many go on `during` something."""
    within: float = 0
    """Seconds in which it has to come out as expected; it is sent again until then."""
    tries: int = 1
    """How often it may be sent, without a pause, until it comes out as expected."""
    keep: Mapping[str, str] = field(default_factory=dict)
    """Names for values of the answer, by their path; later steps say `$name`."""
    during: Disturb | None = None
    """What is done meanwhile: requests go on, each as expected, until a while after it."""

    @property
    def method(self) -> str:
        """The first word."""
        return self.send.partition(" ")[0]

    @property
    def path(self) -> str:
        """The second word."""
        return self.send.partition(" ")[2]


@dataclass(frozen=True)
class Examples:
    """Every example that the API's description has of a request, as METHOD PATH."""

    examples: str
    expect: Expected


@dataclass(frozen=True)
class Inside:
    """A command in the container of a service, and what it has to print."""

    inside: str
    command: str
    text: str = ""
    code: int = 0


@dataclass(frozen=True)
class Restore:
    """Undo what was disturbed so far."""


Step: TypeAlias = Send | Examples | Inside | Disturb | Restore


@dataclass(frozen=True)
class Scenario:
    """A case: its steps come one after another, and the first that fails ends it."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Table:
    """All the cases, and what comes before each."""

    before: tuple[Step, ...]
    scenarios: tuple[Scenario, ...]


def read(path: Path) -> Table:
    """Read the table.

    Raises:
        Refused: the file cannot be read, or a step is not one; the message says where.
    """
    try:
        return table(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{path}: {type(error).__name__}: {error}", FIX) from error


def named(table: Table, part: str) -> Table:
    """Return the scenarios that have a text in their name.

    Raises:
        Refused: none has.
    """
    found = tuple(one for one in table.scenarios if part in one.name)
    if not found:
        names = "\n  ".join(one.name for one in table.scenarios)
        raise Refused(f"no scenario has {part!r} in its name; there are\n  {names}", code=2)
    return Table(table.before, found)


def table(said: Mapping[str, Any]) -> Table:
    """Build the table from what the file says."""
    before = tuple(step(entry) for entry in said.get("before") or ())
    return Table(before, tuple(_scenario(entry) for entry in said["scenarios"]))


def _scenario(entry: Mapping[str, Any]) -> Scenario:
    try:
        return Scenario(entry["name"], tuple(step(one) for one in entry["steps"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{entry.get('name', entry)}: {error}") from error


def step(entry: str | Mapping[str, Any]) -> Step:
    """Build one step; raises ValueError or TypeError for what is none."""
    if entry == RESTORE:
        return Restore()
    if not isinstance(entry, dict):
        raise TypeError(f"{entry!r} is no step")
    first = next(iter(entry))
    if first in DISTURBANCES:
        return disturbance(entry)
    kinds = {fields(kind)[0].name: kind for kind in (Send, Examples, Inside)}
    if first not in kinds:
        raise ValueError(f"{first!r} starts no step")
    changed = dict(entry)
    if "expect" in entry:
        changed["expect"] = expected(entry["expect"])
    if "during" in entry:
        changed["during"] = disturbance(entry["during"])
    return kinds[first](**changed)


def disturbance(entry: Mapping[str, Any]) -> Disturb:
    """Build a disturbance: one verb, and what it is done to."""
    ((verb, what),) = entry.items()
    if verb not in DISTURBANCES:
        raise ValueError(f"{verb!r} is none of {', '.join(DISTURBANCES)}")
    return Disturb(verb, what)


def expected(said: int | Sequence[int] | Mapping[str, Any]) -> Expected:
    """Build an expectation; a number, or some of them, are those of the status."""
    if not isinstance(said, dict):
        return Expected(status=_several(said))
    return Expected(**said | {"status": _several(said.get("status", ()))})


def _several(status: Any) -> tuple[int, ...]:  # noqa: ANN401 - what a file may say
    return (status,) if isinstance(status, int) else tuple(status)


def fill(value: Any, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any part of a step
    """Put what is known in the place of its `$name`; a text that is all name becomes the value."""
    if isinstance(value, dict):
        return {key: fill(one, known) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, known) for one in value]
    if not isinstance(value, str):
        return value
    return known[value[1:]] if value[1:] in known and value[0] == "$" else _filled(value, known)


def _filled(text: str, known: Mapping[str, Any]) -> str:
    return Template(text).safe_substitute(known)


def differences(wanted: Expected, answer: Answer, known: Mapping[str, Any]) -> Iterator[str]:
    """Say in what an answer is not what was expected."""
    if wanted.status and answer.status not in wanted.status:
        yield f"the status is {answer.status}, not {' or '.join(map(str, wanted.status))}"
    for name, value in wanted.headers.items():
        found = answer.headers.get(name.lower())
        if not matches(fill(value, known), found):
            yield f"the header {name} is {found!r}, not {value}"
    for path, value in wanted.json.items():
        there = at(answer.json(), path)
        if not matches(fill(value, known), there):
            yield f"{path} is {there!r}, not {fill(value, known)!r}"
    if wanted.seconds and answer.seconds > wanted.seconds:
        yield f"it took {answer.seconds:.1f} s, not at most {wanted.seconds:g}"
    if wanted.text and not matches(fill(wanted.text, known), answer.text):
        yield f"its text is not {wanted.text}"


def matches(wanted: Any, found: Any) -> bool:  # noqa: ANN401 - any value
    """Compare a value with what was expected of it."""
    if isinstance(wanted, str) and len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        return found is not None and re.search(wanted[1:-1], str(found)) is not None
    return bool(wanted == found)


def at(content: Any, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value at a path, such as `0.id`; None where there is none."""
    for key in path.split("."):
        try:
            content = content[int(key)] if isinstance(content, list) else content[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return content


def repeated(path: str, answers: Sequence[Answer]) -> bool:
    """Say whether some of the answers have the same value at a path."""
    values = [str(at(answer.json(), path)) for answer in answers]
    return len(set(values)) < len(values)


def described(step: Step) -> str:
    """Say in a few words what a step does."""
    match step:
        case Send():
            return step.send
        case Examples():
            return f"the examples of {step.examples}"
        case Inside():
            return f"in {step.inside}: {step.command}"
        case Disturb():
            return f"{step.verb} {step.what}"
        case _:
            return RESTORE
