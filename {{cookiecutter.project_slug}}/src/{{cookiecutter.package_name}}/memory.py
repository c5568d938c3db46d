"""How much memory this process could still take, and how much it took."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
GROUPS = Path("/proc/self/cgroup")
MOUNTED = Path("/sys/fs/cgroup")

FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, use, and the part of it that is given back when needed: of cgroup v2, and of v1."""


def available() -> int | None:
    """Return the bytes that could still be taken, None where the system does not tell."""
    found = [*left_in_machine(), *left_in_groups()]
    return min(found) if found else None


def left_in_machine() -> Iterator[int]:
    """Yield what the kernel says could be taken without swapping."""
    if (kilobytes := field(MEMINFO, "MemAvailable:")) is not None:
        yield kilobytes * 1024


def left_in_groups() -> Iterator[int]:
    """Yield what is left of the limit of each control group that this process is in."""
    for folder in groups():
        for limit_file, use_file, reclaimable in FILES:
            limit, use = number(folder / limit_file), number(folder / use_file)
            if limit is not None and use is not None:
                yield max(0, limit - use + (field(folder / "memory.stat", reclaimable) or 0))


def groups() -> Iterator[Path]:
    """Yield the folders of this process's control groups, from its own up to the root.

    In a container they are mounted as if its own were the root, whatever the path says.
    """
    for line in lines(GROUPS):
        controllers, path = line.split(":", 2)[1:]
        root = MOUNTED / controllers if controllers else MOUNTED
        if controllers in {"", "memory"}:
            own = root / path.lstrip("/")
            yield from (own, *(parent for parent in own.parents if parent.is_relative_to(root)))


def peak() -> int:
    """Return the most bytes of memory that this process held so far, or since `forget_peak`."""
    if (kilobytes := field(STATUS, "VmHWM:")) is not None:
        return kilobytes * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def held() -> int:
    """Return the bytes of memory that this process holds; the most it held where that is told."""
    kilobytes = field(STATUS, "VmRSS:")
    return peak() if kilobytes is None else kilobytes * 1024


def forget_peak() -> None:
    """Reset the recorded peak, if the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def limit_to(more: int) -> None:
    """Let this process take so many bytes more; beyond that, taking memory fails in it alone."""
    if (kilobytes := field(STATUS, "VmData:")) is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = kilobytes * 1024 + more
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def field(file: Path, name: str) -> int | None:
    """Return the number after a name at the start of a line."""
    for line in lines(file):
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    return None


def number(file: Path) -> int | None:
    """Return the number that a file holds, or None if it holds a word, or is not there."""
    text = "".join(lines(file)).strip()
    return int(text) if text.isdecimal() else None


def lines(file: Path) -> list[str]:
    """Return the lines of a file that the kernel makes; none where it does not."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
