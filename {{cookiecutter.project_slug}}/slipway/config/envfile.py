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

from slipway.core import files
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

BARE = re.compile(r"[\w./:@%+,=-]*", re.ASCII)
LIKE = re.compile(
    r"""\s*(?:export[ ]+)?[A-Za-z_][A-Za-z0-9_]*=
    (?:(?:
        [\w./:@%+,=-]+
        |'(?:[^'\\]|\\(?![\\']))*'
        |"(?:[^"\\$`]|\\["\\])*"
    )(?P<comment>[ ]+\#[^\n]*)?)?
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
        whole = binding.original.string
        if binding.key is None and whole.lstrip()[:1] in ("", "#"):
            continue  # any other line without a name, such as `export #`, a shell obeys
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


def set_variables(path: Path, values: Mapping[str, str | None]) -> None:
    """Set exactly these variables in an env file; those that are None are set no longer.

    All else stays as it is. Whoever reads the file meanwhile finds all of the old content or all of
    the new one, and it stays its owner's.

    Raises:
        Refused: tools would read a value differently, or a line that cannot be read is in the way.
        OSError: it cannot be written; what was there is there still.
    """
    try:
        before = path.read_bytes().decode("utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: cannot be read as UTF-8 text ({error})", f"edit {path}") from error
    after = rewrite_text(before, values)
    kept = {name: value for name, value in parsed(before).values.items() if name not in values}
    given = {name: value for name, value in values.items() if value is not None}
    if parsed(after).values != kept | given:
        what = f"{path} holds a line that cannot be read, so that nothing can be changed safely"
        raise Refused(what, "inv env.check names it")
    files.replace_private_file(path, after.encode("utf-8"))


def rewrite_text(text: str, values: Mapping[str, str | None]) -> str:
    """Return the text of an env file with some variables set otherwise, or no longer."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    statements = [*parse_stream(StringIO(text.removeprefix(mark)))]
    parts = [statement.original.string for statement in statements]
    for name, value in values.items():
        places = [at for at, statement in enumerate(statements) if statement.key == name]
        for at in places:
            parts[at] = _before(parts[at]) if value is None or at != places[-1] else parts[at]
        if value is None:
            continue
        if not places:
            places = [at for at, part in enumerate(parts) if _default_of(name, part)][:1]
        if places:
            parts[places[-1]] = _set(parts[places[-1]], name, value)
        else:
            last = next((part for part in reversed(parts) if part), "\n")
            parts.append(f"{'' if last.endswith(chr(10)) else chr(10)}{line(name, value)}\n")
    return mark + "".join(parts)


def _before(part: str) -> str:
    """Return the empty lines before a statement."""
    blank = part[: len(part) - len(part.lstrip())]
    return blank[: max(blank.rfind("\n"), blank.rfind("\r")) + 1]


def _default_of(name: str, part: str) -> bool:
    """Tell whether a comment is what a new env file says of a variable with a default."""
    return re.match(rf"#[ ]?{name}=", part.lstrip()) is not None


def _set(part: str, name: str, value: str) -> str:
    """Replace a statement or a comment by a new statement, and keep what stands around it."""
    rest = part[len(_before(part)) :]
    like = LIKE.fullmatch(rest)
    comment = (like and value and like["comment"]) or ""
    word = re.match(r"\s*(?:export[^\S\r\n]+)?", rest) or [""]
    end = rest[len(rest.rstrip("\r\n")) :] or "\n"
    return f"{_before(part)}{word[0]}{line(name, value)}{comment}{end}"
