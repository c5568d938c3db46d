"""Secret values, taken out of all that is printed and kept.

Whoever comes to know a secret says so (`remember_secrets`). From then on no value of it gets past
what this process prints, tracebacks too; what is written elsewhere goes through `masked` or a
`Filter`.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TextIO

MASK = "********"
SHORTEST = 8
"""Characters: what is shorter stands in many lines by chance."""
WORDS = {"postgres", "password", "scheduler", "dashboard"}
"""What the tasks print anyway: who takes one of these for a secret has none."""
PASSWORD = re.compile(r"://[^\s/:@]*:(\S*)@")
"""A password in a URL: it may hold anything, and ends at the last @."""
UNTIL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/(.*)", re.DOTALL)
"""A time until when something is a secret, and that itself."""
SECRET_NAME = re.compile(r"secret|password|passphrase|token|key", re.IGNORECASE)
"""What a part of a value in JSON is called that is secret by itself."""

_forms: list[str] = []
"""Every way to write every value that is known, the longest first: one may be a part of another."""


def is_maskable(value: str) -> bool:
    """Say whether a secret's value can be told from what stands there anyway."""
    return len(value) >= SHORTEST and value not in WORDS


def remember_secrets(values: Iterable[str]) -> None:
    """Take values for secret, from now on and as long as this process runs."""
    found = {form for value in values for part in _parts(value) for form in encoded_forms(part)}
    if new := found - {*_forms}:
        _forms[:] = sorted({*_forms, *new}, key=len, reverse=True)
    if _forms:
        _watch()


def masked(text: str) -> str:
    """Write a text without the secrets in it."""
    for form in _forms:
        if form in text:
            text = text.replace(form, MASK)
    return text


class Filter:
    """Masks what comes piece by piece: a value may begin in one and end in another."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept = ""

    def feed(self, text: str) -> str:
        """Take a piece; return what can be shown already."""
        text = masked(self._kept + text)
        end = len(text) - _begun(text)
        self._kept = text[end:]
        return text[:end]

    def rest(self) -> str:
        """Return what was kept back, at the end."""
        kept, self._kept = self._kept, ""
        return kept


def mask_stream(stream: TextIO) -> None:
    """Let a stream write without the secrets, also for those who hold it already."""
    write = stream.write
    if getattr(write, "func", None) is not _write_masked:
        stream.write = partial(_write_masked, write)  # type: ignore[method-assign]


def _write_masked(write: Callable[[str], int], text: str) -> int:
    write(masked(text))
    return len(text)


def _watch() -> None:
    """Mask all that this process prints; tracebacks, warnings and logs go to these streams too."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            mask_stream(stream)


def _parts(value: str) -> Iterator[str]:
    """Yield a value and what in it is secret by itself: lines, a URL's password, texts of JSON."""
    parts = [value]
    parts += [line.strip() for line in value.splitlines() if not line.startswith("-----")]
    for password in PASSWORD.findall(value):
        parts += [password, unquote(password)]
    parts += _named(value) + UNTIL.findall(value)
    yield from filter(is_maskable, parts)


def _named(value: str) -> list[str]:
    """Return what a value in JSON holds under a name that says it is secret."""
    if not value.lstrip().startswith("{"):
        return []
    pairs: list[tuple[str, object]] = []
    with suppress(ValueError, RecursionError):
        json.loads(value, object_pairs_hook=pairs.extend)  # those of tables in tables too
    return [text for name, text in pairs if SECRET_NAME.search(name) and isinstance(text, str)]


def encoded_forms(value: str) -> Iterator[str]:
    """Yield a value as URLs, JSON, XML, Python, shells, compose files and base64 write it."""
    data = value.encode(errors="surrogateescape")
    yield value
    yield from (quote(data, safe=""), quote(data), quote_plus(data))
    for as_json in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield from (as_json, json.dumps(as_json)[1:-1])
    as_xml = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield from (as_xml, as_xml.replace('"', "&quot;"))
    yield from (repr(value)[1:-1], value.replace("'", "'\"'\"'"), value.replace("$", "$$"))
    yield from _in_base64(data)


def _in_base64(value: bytes) -> Iterator[str]:
    """Yield what stays of a value in base64, whatever is before it and after it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value).decode()
        sure = encoded[(0, 2, 3)[before] : (before + len(value)) * 8 // 6]
        yield from (sure, sure.replace("+", "-").replace("/", "_"))


def _begun(text: str) -> int:
    """Return how many of the last characters may be the beginning of a value."""
    return max((_overlap(text, form) for form in _forms), default=0)


def _overlap(text: str, form: str) -> int:
    """Return how long a beginning of one text, but not all of it, another one ends with."""
    last = text[-1:]
    at = form.rfind(last, 0, len(form) - 1) if last else -1
    while at >= 0 and not text.endswith(form[: at + 1]):
        at = form.rfind(last, 0, at)
    return at + 1
