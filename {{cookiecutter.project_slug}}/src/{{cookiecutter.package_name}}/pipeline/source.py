"""The source of the observations: an HTTP server, or the file in the repository.

An interrupted transfer is resumed, in the same run or the next, if the server confirms that its
content is unchanged: RFC 9110, HTTP Semantics (2022), section 13.1.5 (If-Range) and chapter 14
(ranges). Otherwise it starts over. A file gets its final name only once it is complete and has the
expected checksum.
"""

import argparse
import hashlib
import os
import time
from pathlib import Path

from ..shared.console import AppError, explain
from ..shared.valuefiles import read_all
from .download import Download, Limits, fetch_url
from .work import Work
from .writing import replace

KEYS = ("pipeline_source_url", "pipeline_source_sha256")
"""Settings of the stage, from the environment variable NAME, or a file that NAME_FILE names."""


def fetch(work: Work, asked: argparse.Namespace) -> list[str]:
    """Fetch the observations and write them unchanged; identical content changes nothing.

    Raises AppError if they are not available, too large, too slow, or not the expected ones.
    """
    file = work.path("data/fetched.csv")
    given = environment()
    url = asked.url or given.get("pipeline_source_url", "")
    digest = (asked.sha256 or given.get("pipeline_source_sha256", "")).lower()
    if url:
        limits = Limits(
            tries=asked.tries,
            seconds=asked.seconds_max,
            wait_seconds=asked.wait_seconds_max,
            size=round(asked.megabytes_max * 1_000_000),
        )
        content, origin = from_url(file, url, limits, digest)
    else:
        content, origin = from_file(asked.file), str(asked.file)
    found = hashlib.sha256(content).hexdigest()
    if digest and found != digest:
        raise AppError(f"{origin} has the sha256 {found}, not {digest}")
    changed = replace(file, content)
    if url:
        Download.of(file).forget()
    return [f"{file}: {len(content)} bytes from {origin}{'' if changed else ', unchanged'}"]


def environment() -> dict[str, str]:
    """Return the stage's settings in the environment; raises AppError."""
    files = read_all(KEYS)
    for key, reason in files.wrong.items():
        raise AppError(f"{files.place(key)}: {reason}")
    plain = {key: os.environ.get(key.upper(), "").strip() for key in KEYS}
    return {key: value for key, value in {**plain, **files.values}.items() if value}


def from_file(file: Path) -> bytes:
    """Return the content of a file; raises AppError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise AppError(f"cannot read {explain(error)}") from error


def from_url(file: Path, url: str, limits: Limits, digest: str) -> tuple[bytes, str]:
    """Return the content of a source, and its name for messages, without secrets.

    Content from two transfers that has the wrong checksum is downloaded once more, as a whole.
    """
    until = time.monotonic() + limits.seconds
    part = Download.of(file)
    for whole in (False, True):
        if whole:
            part.forget()
        origin, resumed = fetch_url(part, url, limits, until)
        content = from_file(part.file)
        wrong = bool(digest) and hashlib.sha256(content).hexdigest() != digest
        if not (wrong and resumed):
            break
    if wrong:
        part.forget()
    return content, origin
