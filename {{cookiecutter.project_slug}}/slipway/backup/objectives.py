"""How much may be lost, and how long it may be gone: what docs/recovery.md promises."""

from __future__ import annotations

from datetime import timedelta

RECOVERY_POINT = timedelta(hours=24)
"""How old the newest verified restore point may be: what is newer would be lost."""
RECOVERY_TIME = timedelta(hours=1)
"""How long it may take until an empty machine serves a restore point again."""
LONGEST_WITHOUT_DRILL = timedelta(days=90)
"""How old the last drill may be: code, data and machines change within a quarter."""


def written(objective: timedelta) -> str:
    """Write an objective as people say it: in hours, in days where there are many."""
    hours = int(objective.total_seconds()) // 3600
    return f"{hours // 24} days" if hours > 48 else f"{hours} h"  # noqa: PLR2004 - as people do
