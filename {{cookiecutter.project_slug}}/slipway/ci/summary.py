"""Sessions run one after the other, and what came of each as a table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from slipway.ci.linters import succeeds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import nox

FAILED = "failed"


class SessionResult(NamedTuple):
    """What came of one session, or why something was left out."""

    name: str
    outcome: str
    seconds: str = ""
    reason: str = ""


def run_session(noxfile: Path, name: str, paths: Sequence[str], *arguments: str) -> SessionResult:
    """Run a session in a nox of its own, so that a failure does not hide the others.

    Its commands are looked for in `paths`: one environment is installed for all sessions.
    """
    start = monotonic()
    options = ["--no-venv", "--no-install", "-s", name]
    command = [sys.executable, "-m", "nox", "--noxfile", str(noxfile), *options, "--", *arguments]
    variables = os.environ | {"PATH": os.pathsep.join([*paths, *os.get_exec_path()])}
    code = subprocess.run(command, env=variables, check=False).returncode  # noqa: S603 - of the noxfile
    return SessionResult(name, FAILED if code else "ok", f"{monotonic() - start:.0f} s")


def left_out(name: str, reason: str) -> SessionResult:
    """Return the row of something that this machine cannot run."""
    return SessionResult(name, "left out", reason=reason)


def skipped_tests(report: Path) -> list[SessionResult]:
    """Read from a JUnit report which tests skipped themselves, and why."""
    if not report.is_file():
        return []
    found = ET.parse(report).iter("skipped")  # noqa: S314 - pytest has just written it
    reasons = Counter(skip.get("message", "") for skip in found)
    return [left_out(f"{number} of {report.stem}", why) for why, number in reasons.items()]


def format_results(rows: Sequence[SessionResult]) -> str:
    """Lay the rows out in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def failed_names(rows: Iterable[SessionResult]) -> list[str]:
    """Name the sessions that failed."""
    return [row.name for row in rows if row.outcome == FAILED]


def require_engine(session: nox.Session) -> None:
    """Skip a session where no container engine answers."""
    if reason := missing_engine():
        session.skip(reason)


def require_files(session: nox.Session, root: Path, pattern: str) -> None:
    """Skip a session in a repository that has none of the files that it is about."""
    if not any(root.glob(pattern)):
        session.skip(f"{pattern} is not here")


def missing_engine() -> str:
    """Say why sessions that need a container engine are left out; "" if they can or must run."""
    if os.environ.get("REQUIRE_ENGINE") == "1" or succeeds("docker", "info"):
        return ""
    return "no container engine answers: docker info"
