"""How restore points, their sizes, ages and proofs are written for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from slipway.backup.databases.base import DatabaseContent
    from slipway.backup.restore_point import RestorePoint


def describe_content(content: DatabaseContent) -> str:
    """Say how much a database holds."""
    large = content.large_objects.rows
    said = f"{len(content.tables)} tables, {content.rows} rows"
    return f"{said}, {large} large objects" if large else said


def describe_point(point: RestorePoint) -> str:
    """Say what is in a restore point."""
    models = ", ".join(file.rpartition("_")[0] for file in point.models.values())
    return "; ".join(
        filter(None, [f"{point.database_kind}: {describe_content(point.content)}", models])
    )


def verification_state(point: RestorePoint) -> str:
    """Say when and how a restore point was verified."""
    if point.missing:
        return f"DAMAGED: {len(point.missing)} files"
    return format_verification(point.verified)


def format_verification(said: Mapping[str, Any] | None) -> str:
    """Say when and how something was verified."""
    return f"{said['at'][:16].replace('T', ' ')} {said['how']}" if said else "no"


def point_columns(point: RestorePoint) -> Iterator[tuple[str, object]]:
    """Yield what a person reads of a restore point in a list."""
    yield from (("id", point.id), ("age", format_age(point)), ("size", format_size(point.size)))
    yield from (("verified", verification_state(point)), ("kind", point.kind))
    yield from (("of", "/".join(point.series)), ("holds", describe_point(point)))


def format_age(point: RestorePoint) -> str:
    """Write how old a restore point is."""
    return format_elapsed(point.age)


def format_elapsed(time_: timedelta) -> str:
    """Write a time in the unit that says most."""
    seconds = time_.total_seconds()
    if seconds < 0:
        return "from the future"  # the clock was set back since
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def format_size(count: int) -> str:
    """Write a number of bytes."""
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"
