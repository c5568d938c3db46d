"""How well data is protected: the objectives, and the facts that the API turns into metrics.

The facts follow from the restore points and the journal. They are written to one small file after
every change.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from slipway.backup import restore_point
from slipway.core import files, journal
from slipway.core.transaction import on_change

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RECOVERY_POINT = timedelta(hours=24)
"""The maximum age of the newest verified restore point: data newer than that would be lost."""
RECOVERY_TIME = timedelta(hours=1)
"""The maximum time until an empty machine serves a restore point."""
DRILL_INTERVAL = timedelta(days=90)
"""The maximum age of the last drill: code, data and machines change within a quarter."""
DRILL = "backup.drill"
CONCLUSIVE = ("done", "failed")
"""The outcomes of a drill that count; an interrupted one says nothing."""


@on_change
def write_metrics(root: Path) -> None:
    """Write the facts as they are now.

    Raises:
        OSError: the file cannot be written; the previous one is still there.
    """
    folder = root / "run" / "recovery"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "facts.json"
    said = collect_metrics(root)
    files.replace_file(path, json.dumps(said, indent=2) + "\n")
    files.give_to_owner(path)


def collect_metrics(root: Path) -> dict[str, Any]:
    """Return the newest verification, the last drill, and the objectives."""
    entries = journal.entries(root)
    newest = restore_point.newest_point(root / "backups", _series(entries))
    return {
        "newest_verified_at": newest.created.isoformat() if newest else None,
        "drill": _drill(entries),
        "objectives": {
            "recovery_point_seconds": RECOVERY_POINT.total_seconds(),
            "recovery_time_seconds": RECOVERY_TIME.total_seconds(),
        },
    }


def _series(entries: Sequence[dict[str, Any]]) -> tuple[str, str] | None:
    """Return profile and engine of the data in use; None if nothing was ever brought up."""
    for entry in reversed(entries):
        if entry.get("verb") == "deploy.up" and entry.get("outcome") == "done":
            return str(entry.get("profile")), str(entry.get("engine"))
    return None


def _drill(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return when the last drill was, how long it took, and whether it succeeded."""
    last = next(completed_drills(entries), None)
    if last is None:
        return None
    ok = last["outcome"] == "done"
    return {"at": last.get("at"), "seconds": last.get("seconds"), "ok": ok}


def completed_drills(entries: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the journal entries of drills that were not interrupted, newest first."""
    for entry in reversed(entries):
        if entry.get("verb") == DRILL and entry.get("outcome") in CONCLUSIVE:
            yield entry


def format_objective(objective: timedelta) -> str:
    """Write an objective in hours, or in days if there are many."""
    hours = int(objective.total_seconds()) // 3600
    return f"{hours // 24} days" if hours > 48 else f"{hours} h"  # noqa: PLR2004 - 48 h reads well
