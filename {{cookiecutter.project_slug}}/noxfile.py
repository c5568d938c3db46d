"""Checks of this repository: `nox -s ci` runs all that this machine can."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]


def install(session: nox.Session) -> None:
    """Install everything that is locked; quick when it is there already."""
    session.install("--require-hashes", "-r", "requirements-dev.txt")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; what follows -- goes to pytest."""
    session.env["UV_COMPILE_BYTECODE"] = "1"  # slower to install, much faster to import
    install(session)
    session.run("pytest", *session.posargs)


@nox.session(venv_backend="none")
def ci(session: nox.Session) -> None:
    """Run every session, then say what ran, what was left out and why."""
    rows = [_run(name) for name in ("lint", "types", "tests")] + _left_out()
    session.log("what ran, and what was left out")
    for name, outcome, note in rows:
        print(f"  {name:<10} {outcome:<9} {note}")
    failed = [name for name, outcome, _ in rows if outcome == "failed"]
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def _run(name: str) -> tuple[str, str, str]:
    """Run one session in a nox of its own, so that a failure does not hide the others."""
    start = time.monotonic()
    command = [sys.executable, "-m", "nox", "--noxfile", __file__, "-s", name]
    code = subprocess.run(command, check=False).returncode
    return name, "failed" if code else "ok", f"{time.monotonic() - start:.0f} s"


def _left_out() -> list[tuple[str, str, str]]:
    """Name the tests that skip themselves on this machine, and what would let them run."""
    missing = {
        "browser": (
            not (shutil.which("chromium") and shutil.which("chromedriver")),
            "no browser to look at the dashboard with: apt-get install chromium chromium-driver",
        ),
        "postgres": (
            not _answers("docker", "info"),
            "no container engine to run PostgreSQL in: docker info",
        ),
    }
    return [(name, "left out", note) for name, (absent, note) in missing.items() if absent]


def _answers(*command: str) -> bool:
    """Say whether a command is there and ends well."""
    if not shutil.which(command[0]):
        return False
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
