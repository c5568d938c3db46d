"""Move a link N times while others follow it: `python devtools/link_swaps.py N`.

slipway/ has to be on the path. Each reader is a process of its own. It prints as JSON how often the
link was followed, and how often it was missing, led nowhere, or led to a file that is not whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from slipway.models import registry

READERS = 2
SIZE = 500_000
"""Bytes of each of the two models."""
TIER = "tier1"
STOP = "stop"
"""The file that ends the readers."""


def swaps(folder: Path, count: int) -> dict[str, float]:
    """Move the link that many times; return what the readers saw."""
    contents = {f"{TIER}_v1.{number}_2026-11-22.onnx": os.urandom(SIZE) for number in (0, 1)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    whole = {hashlib.sha256(content).hexdigest() for content in contents.values()}
    names = list(contents)
    registry.point_link(folder, TIER, names[0])
    with ProcessPoolExecutor(READERS) as pool:
        readers = [pool.submit(read, folder, whole) for _ in range(READERS)]
        start = time.monotonic()
        for number in range(1, count + 1):
            registry.point_link(folder, TIER, names[number % 2])
        seconds = time.monotonic() - start
        (folder / STOP).touch()
        seen = sum((reader.result() for reader in readers), Counter[str]())
    kinds = ("reads", "missing", "dangling", "partial")
    return {"swaps": count, "seconds": seconds} | {kind: seen[kind] for kind in kinds}


def read(folder: Path, whole: set[str]) -> Counter[str]:
    """Read through the link until the end; count what was wrong."""
    link, seen = folder / f"{TIER}_current.onnx", Counter[str]()
    while not (folder / STOP).exists():
        seen["reads"] += 1
        seen["missing"] += not link.is_symlink()
        try:
            content = link.read_bytes()
        except FileNotFoundError:
            seen["dangling"] += 1
        else:
            seen["partial"] += hashlib.sha256(content).hexdigest() not in whole
    return seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="swaps-") as temporary:
        json.dump(swaps(Path(temporary), int(sys.argv[1])), sys.stdout)
