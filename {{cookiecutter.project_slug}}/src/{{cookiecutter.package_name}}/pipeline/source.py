"""Where the observations come from: an HTTP source, or the file that is shipped.

A transfer that breaks goes on where it stopped, in the same run or in the next one, where the
server says that what it has is still the same: RFC 9110, HTTP Semantics (2022), section 13.1.5
(If-Range) and chapter 14 (ranges). Else it begins again. What has arrived takes its name when it
is complete and has the checksum that it has to have.
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
"""Settings of the stage, which the environment gives in NAME, or in a file that NAME_FILE names."""


def fetch(work: Work, asked: argparse.Namespace) -> list[str]:
    """Get the observations and write them as they came; the same content changes nothing.

    Raises AppError if they cannot be had, are too much, too slow or not what they should be.
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
        raise AppError(f"{origin} has the sha256 {found}, and should have {digest}")
    changed = replace(file, content)
    if url:
        Download.of(file).forget()
    return [f"{file}: {len(content)} bytes from {origin}{'' if changed else ', as it was'}"]


def environment() -> dict[str, str]:
    """Return what the environment gives of the stage's settings; raises AppError."""
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
    """Return what a source has, and how it is named in messages: without anything secret.

    What was put together from two transfers and has the wrong checksum is fetched once more, whole.
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
