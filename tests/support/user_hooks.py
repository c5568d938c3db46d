"""Programs of a user's in hooks/, and what they were handed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

KEEPS = '#!/bin/sh\ncat > "$(basename "$0").json"\n'


def add_hook(root: Path, name: str, text: str = KEEPS, mode: int = 0o755) -> None:
    """Write a hook; by default one that keeps what it is handed."""
    path = root / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def handed(root: Path, name: str) -> dict[str, Any]:
    """Return what such a hook was handed last."""
    said: dict[str, Any] = json.loads((root / f"{name}.json").read_text(encoding="utf-8"))
    return said
