"""The one place that runs commands."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

GRACE = 60.0
"""Seconds a command has to clean up after Ctrl-C before it is killed."""


def run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str]) -> int:
    """Run a command to its end and return its exit code.

    It runs in its own session, so that Ctrl-C reaches it only once, from here, and is waited for.
    """
    child = subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True)
    try:
        return child.wait()
    except BaseException:
        interrupt(child)
        raise


def interrupt(child: subprocess.Popen[bytes]) -> None:
    """Interrupt a command and its children; kill those that do not stop within the grace period."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


def read(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> str:
    """Run a command that should not fail and return its output."""
    return subprocess.run(
        command, cwd=cwd, env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def interruptible() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
