"""What is known of how well data is kept, in one small file: the API's metrics are made of it.

It follows from the restore points and the journal, and is written after each change of either.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slipway.backup import objectives, restore_point
from slipway.core import files, journal
from slipway.core.transaction import on_change

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DRILL = "backup.drill"
TOLD = ("done", "failed")
"""How a drill ends that says something: one that was interrupted does not."""


@on_change
def renew(root: Path) -> None:
    """Write what is known now.

    Raises:
        OSError: it cannot be written; what was known before is there still.
    """
    folder = root / "run" / "recovery"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "facts.json"
    said = gathered(root)
    files.replaced(path, json.dumps(said, indent=2) + "\n")
    files.handed_over(path)


def gathered(root: Path) -> dict[str, Any]:
    """Return the newest proof, the last drill, and what is promised."""
    entries = journal.entries(root)
    newest = restore_point.newest(root / "backups", _series(entries))
    return {
        "newest_verified_at": newest.created.isoformat() if newest else None,
        "drill": _drill(entries),
        "objectives": {
            "recovery_point_seconds": objectives.RECOVERY_POINT.total_seconds(),
            "recovery_time_seconds": objectives.RECOVERY_TIME.total_seconds(),
        },
    }


def _series(entries: Sequence[dict[str, Any]]) -> tuple[str, str] | None:
    """Return profile and engine of the data that is in use; None where nothing was brought up."""
    for entry in reversed(entries):
        if entry.get("verb") == "deploy.up" and entry.get("outcome") == "done":
            return str(entry.get("profile")), str(entry.get("engine"))
    return None


def _drill(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return when the last drill was, how long it took, and whether it went well."""
    last = next(drills(entries), None)
    if last is None:
        return None
    ok = last["outcome"] == "done"
    return {"at": last.get("at"), "seconds": last.get("seconds"), "ok": ok}


def drills(entries: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what the journal has of the drills that came to an end by themselves, newest first."""
    for entry in reversed(entries):
        if entry.get("verb") == DRILL and entry.get("outcome") in TOLD:
            yield entry
