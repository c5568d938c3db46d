"""Output for people."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str = "") -> None:
    """Print a line and flush."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a step's title, and how long it took."""
    say(f"==> {title}")
    start = time.monotonic()
    yield
    say(f"    {time.monotonic() - start:.1f} s")


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Lay rows out in aligned columns."""
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
