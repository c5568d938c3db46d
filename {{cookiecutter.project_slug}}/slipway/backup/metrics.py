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
"""How a drill ends that says something: one that was interrupted does not."""


@on_change
def write_metrics(root: Path) -> None:
    """Write what is known now.

    Raises:
        OSError: it cannot be written; what was known before is there still.
    """
    folder = root / "run" / "recovery"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "facts.json"
    said = collect_metrics(root)
    files.replaced(path, json.dumps(said, indent=2) + "\n")
    files.handed_over(path)


def collect_metrics(root: Path) -> dict[str, Any]:
    """Return the newest proof, the last drill, and what is promised."""
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
    """Return profile and engine of the data that is in use; None where nothing was brought up."""
    for entry in reversed(entries):
        if entry.get("verb") == "deploy.up" and entry.get("outcome") == "done":
            return str(entry.get("profile")), str(entry.get("engine"))
    return None


def _drill(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return when the last drill was, how long it took, and whether it went well."""
    last = next(completed_drills(entries), None)
    if last is None:
        return None
    ok = last["outcome"] == "done"
    return {"at": last.get("at"), "seconds": last.get("seconds"), "ok": ok}


def completed_drills(entries: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what the journal has of the drills that came to an end by themselves, newest first."""
    for entry in reversed(entries):
        if entry.get("verb") == DRILL and entry.get("outcome") in CONCLUSIVE:
            yield entry


def format_objective(objective: timedelta) -> str:
    """Write an objective in hours, or in days if there are many."""
    hours = int(objective.total_seconds()) // 3600
    return f"{hours // 24} days" if hours > 48 else f"{hours} h"  # noqa: PLR2004 - 48 h reads well
