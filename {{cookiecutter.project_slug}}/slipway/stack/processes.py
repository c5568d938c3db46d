"""The processes of a stack, found by a mark in their environment, whatever their parent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MARK = "SLIPWAY_STACK"
"""A variable in the environment of each of a stack's processes: the repository's folder."""
KILL_WAIT = 5.0
POLL = 0.02


def marked_processes(root: Path) -> list[psutil.Process]:
    """Return the processes of a repository's stack."""
    return [item for item in psutil.process_iter() if _mark(item) == str(root)]


def describe_process(process: psutil.Process) -> str:
    """Name a process, and the stack it belongs to, if any."""
    stack = _mark(process)
    of = f", of the stack in {stack}" if stack else ""
    return f"process {process.pid} ({process.name()}{of})"


def end_processes(processes: Sequence[psutil.Process], patience: float) -> None:
    """Terminate processes, and kill those still alive after `patience` seconds.

    Raises:
        Refused: some are still running after that.
    """
    for process in processes:
        _send(process, kill=False)
    left = await_exit(processes, patience)
    for process in left:
        _send(process, kill=True)
    if left := await_exit(left, KILL_WAIT):
        raise Refused(f"still running: {', '.join(map(describe_process, left))}")


def await_exit(processes: Sequence[psutil.Process], patience: float) -> list[psutil.Process]:
    """Wait at most `patience` seconds for processes to end; return those that have not."""
    deadline = time.monotonic() + patience
    while (left := [item for item in processes if _alive(item)]) and time.monotonic() < deadline:
        time.sleep(POLL)
    return left


def _alive(process: psutil.Process) -> bool:
    """Say whether a process can still do anything: a zombie cannot, and some are never reaped."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return


def _mark(process: psutil.Process) -> str:
    try:
        return str(process.environ().get(MARK, ""))
    except (psutil.Error, OSError):  # gone, a zombie, or somebody else's
        return ""
