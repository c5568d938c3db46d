"""Processes that are to end."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from slipway.stack import processes

LIVES = "import signal, sys; print(flush=True); signal.pause()"
STAYS = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LIVES}"


def test_what_has_ended_is_not_waited_for_though_nobody_has_reaped_it() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        found = psutil.Process(child.pid)
        while found.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert processes.await_exit([found], 0) == []


@pytest.mark.parametrize(("code", "signal"), [(LIVES, -15), (STAYS, -9)])
def test_who_does_not_end_when_asked_is_made_to(code: str, signal: int) -> None:
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        found = psutil.Process(child.pid)
        assert processes.await_exit([found], 0) == [found]
        processes.end_processes([found], 1)
        assert child.wait() == signal
