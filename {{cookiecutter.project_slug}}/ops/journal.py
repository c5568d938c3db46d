"""What was changed here, when and by whom: one JSON object a line, appended and never rewritten."""

from __future__ import annotations

import getpass
import json
import os
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ops.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "journal.jsonl"


def append(root: Path, verb: str, **facts: object) -> None:
    """Add one entry and see it onto the disk."""
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": _who(), "verb": verb}
    with (root / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry | facts, default=str) + "\n")
        file.flush()
        os.fsync(file.fileno())


def entries(root: Path) -> list[dict[str, Any]]:
    """Read all entries, oldest first; none where nothing was ever changed."""
    path = root / NAME
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


@contextmanager
def recorded(root: Path, verb: str, **facts: object) -> Iterator[None]:
    """Record how the change inside ended: done, failed or interrupted."""
    outcome: dict[str, object] = {"outcome": "failed"}
    try:
        yield
        outcome = {"outcome": "done"}
    except KeyboardInterrupt:
        outcome = {"outcome": "interrupted"}
        raise
    except Refused as error:
        outcome["why"] = error.what.partition("\n")[0]
        raise
    finally:
        append(root, verb, **outcome, **facts)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
