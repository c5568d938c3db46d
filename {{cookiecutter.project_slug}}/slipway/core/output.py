"""What people and scripts read: tables, JSON, questions and progress."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from slipway.core.errors import Refused, printable
from slipway.core.redaction import masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path


def say(text: str = "") -> None:
    """Print a line now, also into a pipe."""
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough: go on without it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def format_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Lay rows out in aligned columns, headed by the keys of all of them."""
    if not rows:
        return ""
    heads = merged_keys(rows)
    lines = [tuple(key.upper() for key in heads)]
    lines += [tuple(format_cell(row.get(key)) for key in heads) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(map(str.ljust, line, widths)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def merged_keys(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the keys of all rows, each once, and before those that it stands before."""
    found: list[str] = []
    for row in rows:
        place = len(found)
        for key in reversed(list(row)):
            if key in found:
                place = found.index(key)
            else:
                found.insert(place, key)
    return found


def format_cell(value: object) -> str:
    """Write one value as a table shows it."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None or value == "" else str(value)


def confirm_typed(what: str, word: str, *, yes: bool) -> None:
    """Let a person type a word before a step that cannot be undone.

    Raises:
        Refused: something else was typed, or nobody is there to type.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{what} No one is there to confirm it.", "add --yes to go ahead")
    if _answer(f"{what}\nType {word} to continue: ") != word:
        raise Refused("nothing was changed")


def format_json(content: object) -> str:
    """Write JSON as scripts read it."""
    return json.dumps(content, indent=2, default=str)


def show(rows: Sequence[Any], *, as_json: bool, empty: str) -> None:
    """Print dataclasses or mappings as a table, or as JSON for scripts."""
    plain = [
        asdict(row) if is_dataclass(row) and not isinstance(row, type) else row for row in rows
    ]
    if as_json:
        say(format_json(plain))
    else:
        say(format_table(plain) or empty)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before a step that destroys something; the default is No.

    Raises:
        Refused: the answer is not yes, or nobody is there to give one.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(
            f"{question} No one is there to answer.", "add --yes to go ahead from a script"
        )
    if _answer(f"{question} [y/N] ").lower() not in {"y", "yes"}:
        raise Refused("nothing was changed")


def _answer(question: str) -> str:
    """Ask on the terminal, which takes the question from no stream that masks it."""
    return input(printable(masked(question))).strip()


def format_brief(value: object) -> str:
    """Write one value of metadata on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {format_brief(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(format_brief, value))
    return format_cell(value)


@contextmanager
def step(name: str, doing: str) -> Iterator[None]:
    """Show a step while it lasts, and in one line how it ended and how long it took."""
    start = time.monotonic()
    ended = "failed"
    try:
        with show_waiting(f"{name:<12} {doing}"):
            yield
        ended = "ok"
    except KeyboardInterrupt:
        ended = "interrupted"
        raise
    finally:
        say(f"  {name:<12} {ended:<12} {time.monotonic() - start:5.1f} s")


@contextmanager
def show_waiting(text: str) -> Iterator[None]:
    """Turn a wheel in a terminal; in a pipe say once what is being done."""
    if not sys.stdout.isatty():
        say(f"  {text}")
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - speed: `inv --list` should not wait

    with Console().status(text):
        yield


def format_elapsed(duration: timedelta) -> str:
    """Write a duration in its largest unit of which there are at least two."""
    seconds = duration.total_seconds()
    if seconds < 0:
        return "from the future"  # the clock was set back since
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def format_size(count: int) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


def last_lines(path: Path, count: int = 15) -> str:
    """Return the end of a log, indented, for a message; empty when there is none."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    if not lines:
        return f"  ({path} is empty)"
    return "\n".join([f"last lines of {path}:", *(f"  | {line}" for line in lines)])
