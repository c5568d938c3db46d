"""What every process that serves models says of itself: the reports in run/serving/.

A process holds a lock on its `.lock` file for as long as it lives, and keeps the `.json` beside it
up to date (the application's reports.py). So a report without a held lock is of a dead process.
"""

from __future__ import annotations

import fcntl
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.core.errors import Refused
from slipway.core.files import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from slipway.stack.engines.base import Replica

POLL = 0.05
"""Seconds between two looks at the reports."""
LOCKS_ARE_SEEN = sys.platform == "linux"
"""Elsewhere containers run in a virtual machine, and their locks stay in there."""
LOOK = 2.0
"""Seconds between two looks at which replicas run."""
FRESH = 10.0
"""Seconds that a report is believed for where no lock is seen; each is renewed every two."""


@dataclass(frozen=True)
class ServingProcess:
    """A live process, by its newest report; a process that has just started may have none yet."""

    name: str
    """Its host and process id."""
    said: Mapping[str, Any]

    @property
    def host(self) -> str:
        """The machine or container that it runs in."""
        return self.name.rpartition(".")[0]

    @property
    def available(self) -> int | None:
        """The bytes of memory that it could still take; None where it cannot tell."""
        found: int | None = self.said.get("available_bytes")
        return found

    def tier(self, name: str) -> dict[str, Any]:
        """Return what it says of a tier."""
        found: dict[str, Any] = self.said.get("tiers", {}).get(name, {})
        return found

    def serves(self, tier: str) -> bool:
        """Tell whether a tier is one that it serves; before it has said anything, any may be."""
        return tier in self.said.get("tiers", [tier])


def report_folder(run: Path) -> Path:
    """Return where the reports are."""
    return run / "serving"


def serving_processes(reports: Path) -> list[ServingProcess]:
    """Return every process that lives, by name."""
    return [
        ServingProcess(lock.stem, _report(lock.with_suffix(".json")))
        for lock in sorted(reports.glob("*.lock"))
        if (_held(lock) if LOCKS_ARE_SEEN else _fresh(lock.with_suffix(".json")))
    ]


def _held(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it has just been removed
        return False
    return False


def _fresh(report: Path) -> bool:
    try:
        at = datetime.fromisoformat(_report(report)["at"])
    except (KeyError, ValueError):
        return False
    return abs((datetime.now(UTC) - at).total_seconds()) < FRESH


def _report(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def lagging_processes(
    live: Iterable[ServingProcess], replicas: Iterable[Replica], tier: str, file: str
) -> dict[str, str]:
    """Return who does not serve a file, and why: processes by name, replicas without any process.

    An empty reason means that it may still come to it. Who serves other tiers only is left out.
    """
    live = list(live)
    hosts = {process.host for process in live}
    missing = {item.name: "" for item in replicas if item.host not in hosts}
    late = [item for item in live if item.serves(tier) and item.tier(tier).get("file") != file]
    return missing | {_called(item, replicas): _reason(item, tier, file) for item in late}


def _called(process: ServingProcess, replicas: Iterable[Replica]) -> str:
    """Name a process by its replica, as a person knows it."""
    names = {item.host: item.name for item in replicas}
    host, _, pid = process.name.rpartition(".")
    return f"{names.get(host, host)} (process {pid})"


def _reason(process: ServingProcess, tier: str, file: str) -> str:
    """Say why a process will not come to serve a file by itself; nothing while it may."""
    said = process.tier(tier)
    return str(said.get("wrong", "")) if said.get("wanted") == file else ""


def await_everywhere(
    reports: Path, running: Callable[[], Sequence[Replica]], tier: str, file: str, limit: float
) -> int:
    """Wait until every process that serves a tier serves a file of it; return how many they are.

    `running` tells which replicas run, and is asked again now and then.

    Raises:
        Refused: one says that it cannot, has stopped, or has not within `limit` seconds.
    """
    replicas, start = running(), time.monotonic()
    deadline, look = start + limit, start + LOOK
    while late := lagging_processes(live := serving_processes(reports), replicas, tier, file):
        if time.monotonic() > look:
            still, look = running(), time.monotonic() + LOOK
            if gone := [item.name for item in replicas if item not in still]:
                raise Refused(f"stopped in the meantime: {', '.join(gone)}")
        refusals = {name: why for name, why in late.items() if why}
        if refusals:
            raise Refused("\n".join(f"{name}: {why}" for name, why in refusals.items()))
        if time.monotonic() > deadline:
            raise Refused(f"not served within {limit:g} s by {', '.join(late)}")
        time.sleep(POLL)
    return sum(process.serves(tier) for process in live)


@dataclass(frozen=True)
class AnswerCounts:
    """How requests to a model ended, over all processes."""

    requests: int
    errors: int
    """Requests that were answered with 500 or more."""
    failures: int
    """Requests that the model itself failed on, also where the one before answered instead."""
    buckets: tuple[int, ...]
    """How many requests took at most each bound, and longer than the one before it."""
    bounds: tuple[float, ...]
    """Seconds, ascending; the last bucket has none."""

    def __sub__(self, before: AnswerCounts) -> AnswerCounts:
        """Return what came on top of what there was before."""
        if not before.requests:
            return self
        buckets = (now - then for now, then in zip(self.buckets, before.buckets, strict=True))
        return AnswerCounts(
            self.requests - before.requests,
            self.errors - before.errors,
            self.failures - before.failures,
            tuple(buckets),
            self.bounds,
        )

    @property
    def bad(self) -> int:
        """How many requests an error or the model's own failure spoilt, at most."""
        return max(self.errors, self.failures)

    @property
    def p99(self) -> float:
        """The bound, in seconds, that 99 of 100 requests kept; infinite for the last bucket."""
        wanted, seen = math.ceil(0.99 * self.requests), 0
        for count, bound in zip(self.buckets, (*self.bounds, math.inf), strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return 0.0


def count_answers(live: Iterable[ServingProcess], file: str) -> AnswerCounts:
    """Add up what all processes say of their requests to a model."""
    total: Counter[str] = Counter()
    buckets: list[int] = []
    bounds: tuple[float, ...] = ()
    for process in live:
        said = process.said.get("answers", {}).get(file)
        if said:
            total.update({key: said[key] for key in ("requests", "errors", "failures")})
            counts = said["buckets"]
            buckets = [a + b for a, b in zip(buckets, counts, strict=True)] if buckets else counts
            bounds = tuple(process.said["bounds"])
    return AnswerCounts(
        total["requests"], total["errors"], total["failures"], tuple(buckets), bounds
    )
