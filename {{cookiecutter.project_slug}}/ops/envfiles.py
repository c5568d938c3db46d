"""Env files: written so that every tool reads the same, and what people wrote looked at for that.

The tools are docker compose (`--env-file` and `env_file:`), python-dotenv with and without
interpolation, and a POSIX shell that sources the file. They differ on a third of awkward lines.
What all of them read alike is small and enough:

- without quotes, letters, digits and few signs;
- in single quotes, everything but a single quote, two backslashes in a row or one at the end;
- in double quotes, everything but `$` and a backtick, with a backslash before `"` and backslash;
- never `${`, which python-dotenv fills in whatever the quotes.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from dotenv.parser import Binding, parse_stream

from ops.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BARE = re.compile(r"[\w./:@%+,=-]*", re.ASCII)
LIKE = re.compile(
    r"""\s*(?:export[ ]+)?[A-Za-z_][A-Za-z0-9_]*=
    (?:(?:
        [\w./:@%+,=-]+
        |'(?:[^'\\]|\\(?![\\']))*'
        |"(?:[^"\\$`]|\\["\\])*"
    )(?:[ ]+\#[^\n]*)?)?
    [ \t]*\n?""",
    re.ASCII | re.VERBOSE,
)
"""A statement, with the empty lines before it, that every tool reads alike."""
FILLED_IN = "${"
CHARACTERS = {"'": "a single quote", "$": "`$`", "`": "a backtick", "\\": "backslashes"}


class UnwritableError(ValueError):
    """A value that no way of writing makes every tool read alike; it says why, in words."""


@dataclass(frozen=True)
class Line:
    """One variable that an env file sets."""

    name: str
    value: str
    number: int
    """Where in the file, from 1 on."""
    problem: str = ""
    """Why tools read it differently, and how to write it; empty where they do not."""


@dataclass(frozen=True)
class EnvFile:
    """What an env file sets, in its order, and what is wrong with it as a whole."""

    lines: tuple[Line, ...] = ()
    problems: tuple[Line, ...] = ()
    """Lines that set nothing, or cannot be read; and what holds for the whole file, at line 1."""

    @property
    def values(self) -> dict[str, str]:
        """What holds: where a variable is set twice, the last one."""
        return {line.name: line.value for line in self.lines}


def quoted(value: str) -> str:
    """Write a value so that every tool reads it alike.

    Raises:
        UnwritableError: no way of writing does that.
    """
    if problem := _unreadable(value):
        raise UnwritableError(problem)
    if BARE.fullmatch(value):
        return value
    if "'" not in value and "\\\\" not in value and not value.endswith("\\"):
        return f"'{value}'"
    if "$" not in value and "`" not in value:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    single = "'" if "'" in value else "\\"
    double = "$" if "$" in value else "`"
    raise UnwritableError(
        f"holds {CHARACTERS[single]} and {CHARACTERS[double]}, which no way of quoting keeps both"
        " for every tool: choose a value without one of the two"
    )


def _unreadable(value: str) -> str:
    """Say what stands in a value that no quotes make safe."""
    for character in value:
        kind = unicodedata.category(character)
        if kind == "Cs" or (kind == "Cc" and character not in "\t\n"):
            code = f"U+{ord(character):04X}"
            return f"holds the character {code}, which not every tool keeps: remove it"
    if FILLED_IN in value:
        return (
            "holds `${`, which python-dotenv fills in whatever the quotes: choose a value"
            " without it (in a URL, %24 stands for $)"
        )
    return ""


def line(name: str, value: str) -> str:
    """Write what sets a variable.

    Raises:
        Refused: tools would read the value differently.
    """
    try:
        return f"{name}={quoted(value)}"
    except UnwritableError as error:
        raise Refused(f"the value of {name} {error}", f"set another value for {name}") from error


def read(path: Path) -> EnvFile:
    """Read an env file; one that is not there sets nothing.

    Raises:
        Refused: it is no UTF-8 text, or cannot be read.
    """
    try:
        content = path.read_bytes() if path.is_file() else b""
        return parsed(content.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: cannot be read as UTF-8 text ({error})", f"edit {path}") from error


def parsed(text: str) -> EnvFile:
    """Read the text of an env file."""
    problems = []
    if text.startswith("\ufeff"):
        problems.append(Line("", "", 1, "starts with a byte order mark: save it as plain UTF-8"))
    if "\r" in text:
        problems.append(Line("", "", 1, "has Windows line ends: save it with LF alone"))
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = list(_lines(plain))
    problems += [item for item in found if not item.name]
    return EnvFile(tuple(item for item in found if item.name), tuple(problems))


def _lines(text: str) -> Iterator[Line]:
    """Read every statement as python-dotenv does without interpolation."""
    for binding in parse_stream(StringIO(text)):
        if binding.key is None and not binding.error:
            continue
        whole = binding.original.string
        blank = whole[: len(whole) - len(whole.lstrip())].count("\n")
        number = binding.original.line + blank
        if binding.key is None:
            yield Line("", "", number, "cannot be read: write NAME=value")
        elif binding.value is None:
            yield Line("", "", number, f"sets nothing: write {binding.key}= and a value")
        else:
            yield Line(binding.key, binding.value, number, _difference(binding))


def _difference(binding: Binding) -> str:
    """Say how to write a statement that tools read differently."""
    name, value = str(binding.key), str(binding.value)
    if LIKE.fullmatch(binding.original.string) and not _unreadable(value):
        return ""
    try:
        quote = quoted(value)[:1]
    except UnwritableError as error:
        return f"{name} {error}"
    kind = {"'": "single quotes", '"': 'double quotes, with \\ before each " and \\'}
    how = f"in {kind[quote]}" if quote in kind and quote else "without quotes"
    return f"tools read it differently: write {name}=... without spaces around =, the value {how}"


def create(path: Path, text: str) -> bool:
    """Write a new env file for its owner's eyes only; say whether it was not there yet.

    The file is complete before it has its name, and one that exists is left alone.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.link(partial, path)  # unlike a rename, never over a file that appeared meanwhile
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    return True
