"""Values in files: for a key NAME of the settings, NAME_FILE names a file that holds its value.

So a secret is in no process' environment, where its children and whoever inspects its container
would find it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .console import AppError

SUFFIX = "_FILE"


class UnreadableError(AppError):
    """A file that should hold a value cannot be read; its content is not in the message."""


@dataclass(frozen=True)
class ValueFiles:
    """The files that the environment names for keys, and what was read of them."""

    paths: Mapping[str, Path]
    values: Mapping[str, str]
    """Only where there is one: an empty file gives no value."""
    wrong: Mapping[str, str]
    """Why a file could not be read."""

    def place(self, key: str) -> str:
        """Return where a key's value is, as the reader would look it up."""
        return f"{self.paths[key]} ({variable(key)})"


def variable(key: str) -> str:
    """Return the variable that names the file of a key."""
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
