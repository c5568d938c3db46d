"""Values in files: for a setting NAME, the variable NAME_FILE names a file with its value.

So no secret is in a process's environment, where its children and anyone who can inspect the
container would find it, and it can be changed while the process runs.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from pydantic import SecretStr

from . import masking
from .console import AppError

log = logging.getLogger(__name__)

SUFFIX = "_FILE"

SETTLED = 1_000_000_000
"""Nanoseconds after a file's last change from which on the next one will have another time."""

Stamp: TypeAlias = tuple[int, int, int]
"""Inode, time and size of a file: with one of them the content changes."""


class UnreadableError(AppError):
    """A value's file cannot be read; its content is not in the message."""


@dataclass(frozen=True)
class ValueFiles:
    """The files that the environment names for settings, and their values."""

    paths: Mapping[str, Path]
    values: Mapping[str, str]
    """Only where there is one: an empty file gives no value."""
    wrong: Mapping[str, str]
    """Why a file could not be read."""

    def place(self, key: str) -> str:
        return f"{self.paths[key]} ({variable(key)})"


def variable(key: str) -> str:
    return f"{key.upper()}{SUFFIX}"


def read_all(keys: Iterable[str]) -> ValueFiles:
    """Read the files that the environment names for some keys."""
    paths, values, wrong = named(keys), {}, {}
    for key, path in paths.items():
        try:
            if value := read(path):
                values[key] = value
        except UnreadableError as error:
            wrong[key] = str(error)
    return ValueFiles(paths, values, wrong)


def named(keys: Iterable[str]) -> dict[str, Path]:
    """Return the file that the environment names for a key, for each key that has one."""
    wanted = {variable(key).lower(): key for key in keys}
    return {
        wanted[name.lower()]: Path(path)
        for name, path in os.environ.items()
        if path.strip() and name.lower() in wanted
    }


def read(path: Path) -> str:
    """Return the value in a file, without the newline that editors put at its end.

    Raises UnreadableError.
    """
    try:
        value = path.read_bytes().decode().removesuffix("\n")
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:  # which knows the content
        raise UnreadableError("cannot be read: it is not UTF-8") from None
    return value if value.strip() else ""


class FileSecret(SecretStr):
    """A secret in a file; always returns the newest value.

    A value that cannot be read or is invalid (such as half of a new one) is logged once, and the
    previous one is still used.
    """

    def __init__(self, path: Path, value: str, check: Callable[[SecretStr], object]) -> None:
        """Hold what was read; a new value is checked as that one was, by what raises ValueError."""
        super().__init__(value)
        self._path, self._check, self._lock = path, check, Lock()
        self._seen: Stamp | None = None
        self._wrong = ""

    def get_secret_value(self) -> str:
        """Return the newest valid value."""
        with self._lock:
            try:
                self._renew()
                self._wrong = ""
            except (OSError, UnreadableError, ValueError) as error:
                self._complain(error)
            return self._secret_value

    def _renew(self) -> None:
        """Read the file if it changed, or may have within its timestamp's resolution."""
        told = self._path.stat()
        stamp = (told.st_ino, told.st_mtime_ns, told.st_size)
        if stamp == self._seen:
            return
        settled = time.time_ns() - told.st_mtime_ns > SETTLED
        value = read(self._path)
        self._seen = stamp if settled else None
        if value == self._secret_value:
            return
        masking.learn([value])
        self._check(SecretStr(value))
        self._secret_value = value
        log.info("%s: using a new value from now on", self._path)

    def _complain(self, error: Exception) -> None:
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        if reason != self._wrong:
            log.warning("%s: %s; the previous value is still used", self._path, reason)
        self._wrong = reason
