"""Files that are there whole or not at all, also after a power cut; and JSON of any origin."""

from __future__ import annotations

import json
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON_LIMIT = 64 * 1024**2
"""Bytes that are read of a file of JSON."""
DEPTH_LIMIT = 64
"""How many lists and objects may be inside one another."""
INTEGER_LIMIT = 2**64


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a file.

    Raises:
        OSError, ValueError: it cannot be read, or it holds something else.
    """
    with path.open("rb") as file:
        return parse_json(file.read(JSON_LIMIT))


def parse_json(text: str | bytes) -> dict[str, Any]:
    """Parse an object.

    Raises:
        ValueError: it is something else.
    """
    said = parse_json_value(text)
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - as for other text
    return said


def parse_json_value(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON has
    """Parse JSON without trusting it.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds a number that is infinite, none
            (NaN), or an integer of more than 64 bits.
    """
    try:
        said = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for value in nested_values(said):
        largest = INTEGER_LIMIT if isinstance(value, int) else math.inf
        if isinstance(value, int | float) and not abs(value) < largest:
            raise ValueError("it holds a number that is out of range")
    return said


def nested_values(content: object) -> Iterator[object]:
    """Yield parsed content and every value in it, without recursion.

    Raises:
        ValueError: it is nested too deeply, or endlessly: in YAML, a list can hold itself.
    """
    level = [content]
    for _ in range(DEPTH_LIMIT):
        yield from level
        held = [one for one in level if isinstance(one, dict | list)]
        inner = (item for one in held for item in (one.values() if isinstance(one, dict) else one))
        level = [*{id(item): item for item in inner}.values()]  # once: YAML repeats by reference
        if not level:
            return
    raise ValueError("it is nested too deeply")


def replace_file(path: Path, text: str) -> None:
    """Write a file over what is there; a reader finds the old content or the new one.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    with replacing_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_private_file(path: Path, content: bytes) -> None:
    """Write a file for its owner's eyes alone over what is there; its owner stays the same.

    A new one belongs to the owner of its folder. What a killed process leaves behind begins with
    the name of the file, so that git ignores it where it ignores that.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    path = path.resolve()  # a link stays one
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if os.getuid() == 0:
                owner = (path if path.exists() else path.parent).stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        flush_to_disk(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_link(path: Path, target: str) -> None:
    """Make a path a symbolic link to a target; it is never missing in between.

    Raises:
        OSError: it cannot be made; what was there is there still.
    """
    with replacing_file(path) as temporary:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a path beside another to write to, and move what is there over the other at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
        flush_to_disk(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def give_to_owner(path: Path) -> None:
    """Give what root made, and all that is in it, to the owner of the folder that it is in.

    Who deploys may be root, and a service that has to go on with it is not.
    """
    folder = path.parent.stat()
    if os.getuid() == 0 and folder.st_uid != path.lstat().st_uid:
        for item in (path, *path.rglob("*")):
            os.chown(item, folder.st_uid, folder.st_gid, follow_symlinks=False)


def flush_to_disk(folder: Path) -> None:
    """See a folder's entries onto the disk: a rename alone does not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
