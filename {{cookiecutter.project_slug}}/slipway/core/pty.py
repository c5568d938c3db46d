"""What a command prints, passed on without the secrets in it."""

from __future__ import annotations

import codecs
import os
import pty
import select
import sys
import termios
import threading
import time
import tty
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, TextIO

from invoke.runners import Local

from slipway.core.redaction import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from invoke.context import Context

BLOCK = 2**16
LOOK = 0.05
"""Seconds between two looks at whether a command has ended that others print on for."""
LINGER = 1.0
"""Seconds that what a command left behind is listened to, after its end."""


class Relay:
    """A place to print to; a thread passes on what comes."""

    def __init__(self, show: Callable[[bytes], object], *, terminal: bool = False) -> None:
        """Take what shows a piece; a command that prints to a terminal finds one here too."""
        self._show = show
        self._source, self.into = _terminal() if terminal else os.pipe()
        self._until = float("inf")
        self._lost: OSError | None = None
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pass on the rest: to the end, or until nothing can be waited for any more.

        Raises:
            OSError: the disk, or whatever is behind, has not taken what came.
        """
        os.close(self.into)
        self._until = time.monotonic() + LINGER
        self._thread.join()
        if self._lost:
            raise self._lost

    def _pass_on(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        sieve = Filter()
        try:
            while block := self._next():
                self._show(_encoded(sieve.feed(decoder.decode(block))))
            self._show(_encoded(sieve.feed(decoder.decode(b"", final=True)) + sieve.rest()))
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            pass
        except OSError as error:
            self._lost = error
        finally:
            os.close(self._source)  # who prints on is told so by the kernel

    def _next(self) -> bytes:
        """Wait for a piece; there is none at the end."""
        while time.monotonic() < self._until:
            if select.select([self._source], [], [], LOOK)[0]:
                with suppress(OSError):  # how a terminal ends
                    return os.read(self._source, BLOCK)
                return b""
        return b""


class MaskingRunner(Local):
    """Runs what a task of yours runs with invoke: a secret may be cut where a piece ends."""

    def __init__(self, context: Context) -> None:
        """Begin with nothing printed."""
        super().__init__(context)
        self._sieves: dict[IO[str], Filter] = {}

    def write_our_output(self, stream: IO[str], string: str) -> None:
        """Print a piece; what the task reads itself, such as `hide` keeps from here, is whole."""
        if stream in (sys.stdout, sys.stderr):
            string = self._sieves.setdefault(stream, Filter()).feed(string)
        super().write_our_output(stream, string)

    def stop(self) -> None:
        """Print what was kept back."""
        for stream, sieve in self._sieves.items():
            super().write_our_output(stream, sieve.rest())
        super().stop()


@contextmanager
def relayed(log: IO[bytes] | None) -> Iterator[tuple[int, int]]:
    """Give where a command is to print its output and its errors to: on to here, or to a log."""
    with ExitStack() as opened:
        if log:
            into = Relay(_into(log))
            opened.callback(into.close)
            yield into.into, into.into
            return
        places = []
        for stream in (sys.stdout, sys.stderr):
            place = Relay(_onto(stream), terminal=stream.isatty())
            opened.callback(place.close)
            places.append(place.into)
        yield places[0], places[1]


def _into(log: IO[bytes]) -> Callable[[bytes], object]:
    def show(piece: bytes) -> None:
        log.write(piece)
        log.flush()

    return show


def _onto(stream: TextIO) -> Callable[[bytes], object]:
    def show(piece: bytes) -> None:
        try:
            stream.flush()
            stream.buffer.write(piece)
            stream.buffer.flush()
        except BrokenPipeError:  # go on without it: what this process prints itself is lost
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise

    return show


def _terminal() -> tuple[int, int]:
    """Make a terminal as large as the real one, which is left to do what terminals do."""
    source, into = pty.openpty()
    tty.setraw(into)
    with suppress(OSError, termios.error):
        termios.tcsetwinsize(into, termios.tcgetwinsize(sys.stdout.fileno()))
    return source, into


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
