"""Secret values, taken out of all that is logged and printed, tracebacks too.

Whoever comes to know a secret says so (`learn`): the settings, and later whoever reads a new value
of one. From then on this process writes none of them, however it would be written.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK = "********"
SHORTEST = 8
"""Characters: what is shorter stands in many lines by chance."""
WORDS = {"postgres", "postgresql", "password"}
"""What is written anyway: who takes one of these for a secret has none."""

_forms: list[str] = []
"""Every way to write every value that is known, the longest first: one may be a part of another."""


def learn(values: Iterable[str]) -> None:
    """Take values for secret, from now on and as long as this process runs."""
    known = {*_forms}
    found = {form for value in values for part in parts(value) for form in written(part)}
    if found - known:
        _forms[:] = sorted(known | found, key=len, reverse=True)
    install()


def masked(text: str) -> str:
    """Write a text without the secrets in it."""
    for form in _forms[:]:
        if form in text:
            text = text.replace(form, MASK)
    return text


def parts(value: str) -> Iterator[str]:
    """Yield what is secret of a value.

    Of a URL that is its passwords alone, for the rest of it is told; of a key that has a time with
    it, also the key alone.
    """
    secret = passwords(value) if "://" in value else [value, value.partition("Z/")[2]]
    yield from (part for part in secret if len(part) >= SHORTEST and part not in WORDS)


def passwords(url: str) -> list[str]:
    """Return the passwords in a URL, as they are written there and as they are meant.

    A password may hold what has to be encoded and was not, so it ends at the last @.
    """
    before, at, _ = url.partition("://")[2].rpartition("@")
    found = [before.partition(":")[2]] if at else []
    try:
        found += [value for name, value in parse_qsl(urlsplit(url).query) if "password" in name]
    except ValueError:  # no URL after all
        found.append(url)
    return [form for one in found for form in (one, unquote(one))]


def written(value: str) -> Iterator[str]:
    """Yield a value as it is, and as URLs, Python and JSON write it."""
    yield value
    yield from (quote(value, safe=""), quote(value), quote(value, safe=" +"), quote_plus(value))
    yield from (repr(value)[1:-1], json.dumps(value)[1:-1])


def install() -> None:
    """Mask whatever this process prints, and what its log handlers write, wherever that goes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, MaskedStream):
            setattr(sys, name, cast("TextIO", MaskedStream(stream)))
    for handler in handlers():
        if not isinstance(handler.formatter, MaskingFormatter):
            handler.setFormatter(MaskingFormatter(handler.formatter))


def handlers() -> Iterator[logging.Handler]:
    """Yield every log handler there is."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    yield from (
        one for made in loggers if isinstance(made, logging.Logger) for one in made.handlers
    )


class MaskingFormatter(logging.Formatter):
    """Writes what another formatter would, without the secrets."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self.inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return masked(self.inner.format(record))


class MaskedStream:
    """Writes without the secrets; in all else it is the stream behind it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text masked."""
        self.stream.write(masked(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.stream.writelines(map(masked, lines))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self.stream, name)
