"""Commands that a test waits for until they end, however busy the machine is."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STALL_LIMIT = 300.0
"""Seconds without processor time in any process of a command, after which it counts as hung."""


def run_to_end(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stall_limit: float = STALL_LIMIT
) -> subprocess.CompletedProcess[str]:
    """Run a command for as long as it makes progress, and return what it printed.

    Raises TimeoutError, with what it printed, if it hangs.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        ) as process:
            try:
                hung = not ends(process, stall_limit)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        printed = out.read(), err.read()
    if hung:
        raise TimeoutError("\n".join([f"{command} hangs:", *printed]))
    return subprocess.CompletedProcess(command, process.returncode, *printed)


def ends(process: subprocess.Popen[bytes], stall_limit: float) -> bool:
    """Wait for the end of a process; return False if it stops making progress instead."""
    used, changed = 0.0, time.monotonic()
    while time.monotonic() - changed < stall_limit:
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            if (now := processor_seconds(process.pid)) != used:
                used, changed = now, time.monotonic()
        else:
            return True
    return False


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and all its descendants."""
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(own_seconds(process) for process in processes)


def own_seconds(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0
