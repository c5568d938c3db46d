"""What was changed here, when and by whom: one JSON object a line, appended and never rewritten."""

from __future__ import annotations

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.core.files import parse_json
from slipway.core.redaction import masked

if TYPE_CHECKING:
    from pathlib import Path

NAME = "journal.jsonl"


def append(root: Path, verb: str, **facts: object) -> None:
    """Add one entry and see it onto the disk.

    Raises:
        OSError: it cannot be written; then it is not there.
    """
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": who(), "verb": verb}
    line = masked(json.dumps(entry | facts, default=str)) + "\n"
    path = root / NAME
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        line = line if _ends_whole(path) else f"\n{line}"
        try:
            rest = memoryview(line.encode())
            while rest:  # a disk that is nearly full takes a part
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def _ends_whole(path: Path) -> bool:
    """Tell whether the last line of a file is a whole one."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read(1) in (b"", b"\n")


def entries(root: Path) -> list[dict[str, Any]]:
    """Read all entries, oldest first; none where nothing was ever changed.

    A line that is no entry is passed over: a power cut may leave one torn.
    """
    return [entry for entry in _lines(root) if entry]


def unreadable_lines(root: Path) -> list[int]:
    """Return the numbers of the lines that are passed over."""
    return [number for number, entry in enumerate(_lines(root), start=1) if not entry]


def _lines(root: Path) -> list[dict[str, Any]]:
    path = root / NAME
    if not path.exists():
        return []
    return [*map(_entry, path.read_text(encoding="utf-8", errors="replace").splitlines())]


def _entry(line: str) -> dict[str, Any]:
    try:
        said = parse_json(line)
        datetime.fromisoformat(said["at"])
        return said if isinstance(said["verb"], str) and isinstance(said["by"], str) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def who() -> str:
    """Name who is at work, and on which machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
