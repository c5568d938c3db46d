"""Restore points for tests: some described only, some with files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slipway.backup import restore_point
from slipway.backup.databases.base import DatabaseContent, TableDigest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slipway.backup.restore_point import RestorePoint

START = datetime(2026, 11, 1, 2, tzinfo=UTC)
CONTENT = DatabaseContent(
    "sqlite 3.46.1", "0002", "5e1f", {"observations": TableDigest(3, "77")}, {"ids": 4}
)
FILES = {
    "database/dump": b"dumped " * 100,
    "models/tier1_v1.0_2026-11-22.onnx": b"a model",
    "models/tier1_v1.0_2026-11-22.json": b"{}",
}


def facts(sequence: int = 1, at: datetime = START, **other: object) -> dict[str, Any]:
    """Return what a manifest says, without the files."""
    return {
        "sequence": sequence,
        "created_at": at.isoformat(timespec="seconds"),
        "kind": "manual",
        "profile": "dev",
        "engine": "local",
        "database": {"kind": "sqlite", **CONTENT.as_dict()},
        "models": {"tier1": "tier1_v1.0_2026-11-22.onnx"},
        **other,
    }


def write(
    folder: Path,
    sequence: int = 1,
    at: datetime = START,
    *,
    verified: bool = True,
    files: Mapping[str, bytes] = FILES,
    **other: object,
) -> RestorePoint:
    """Make a restore point on the disk."""
    partial, _ = restore_point.begin_point(folder)
    for name, content in files.items():
        (partial / name).write_bytes(content)
    made = restore_point.finish_point(partial, facts(sequence, at, **other))
    return restore_point.mark_verified(made, "by a test", 1.0) if verified else made


def forge(folder: Path, **changed: object) -> None:
    """Change a manifest and make its checksum right again."""
    path = folder / restore_point.MANIFEST
    said = {**json.loads(path.read_text(encoding="utf-8")), **changed}
    path.write_text(
        json.dumps({**said, "sha256": restore_point.manifest_checksum(said)}), encoding="utf-8"
    )


def signed(point: RestorePoint) -> dict[str, Any]:
    """Return what the checksum of a manifest covers: all but how it was verified or came here."""
    said, added = point.manifest, restore_point.NOT_IN_CHECKSUM
    return {name: value for name, value in said.items() if name not in added}


def day(number: float) -> datetime:
    """Return a time some days after the first one."""
    return START + timedelta(days=number)
