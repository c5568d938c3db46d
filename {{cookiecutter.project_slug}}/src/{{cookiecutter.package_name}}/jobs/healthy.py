"""Check that this container's worker is alive: `python -m <package>.jobs.healthy <queue>`.

It prints what the worker is doing, and fails if the worker has not reported for a while. It imports
only what loads quickly, because a container runs it every few seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

SILENT = 15.0
"""Seconds without a heartbeat after which a worker is unhealthy."""


def look(file: Path) -> tuple[bool, str]:
    """Return whether the process that touches a file is alive, and what it is doing."""
    try:
        age = time.time() - file.stat().st_mtime
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return False, f"the worker's report cannot be read: {error}"
    if age > SILENT:
        return False, f"the worker has not reported for {age:.0f} s; it was running {jobs(said)}"
    if sum(one["stuck"] for one in said["jobs"]) >= said["threads"]:
        return False, f"no thread is left: none of {jobs(said)} can be interrupted"
    return True, f"at {jobs(said)}"


def jobs(said: dict[str, Any]) -> str:
    return ", ".join(f"{one['kind']} {one['id']}" for one in said["jobs"]) or "no job"


if __name__ == "__main__":
    well, what = look(Path("run") / f"worker-{sys.argv[1]}" / "beat")
    print(what)
    sys.exit(not well)
