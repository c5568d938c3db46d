"""The helper that waits for commands: it fails for those that hang, not for those that are slow."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.commands import run_to_end

STALL_LIMIT = 3.0
BUSY_FOR = 2 * STALL_LIMIT


def run(code: str, folder: Path) -> tuple[int, str, str]:
    command = [sys.executable, "-c", f"import os, sys, subprocess, time\n{code}"]
    done = run_to_end(command, cwd=folder, env=os.environ, stall_limit=STALL_LIMIT)
    return done.returncode, done.stdout, done.stderr


def test_what_a_command_prints_is_returned(tmp_path: Path) -> None:
    code = "print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert run(code, tmp_path) == (3, "out\n", "err\n")


def test_a_command_may_be_slow_while_what_it_started_is_busy(tmp_path: Path) -> None:
    busy = f"import time\nwhile time.process_time() < {BUSY_FOR}: pass"
    code = f"subprocess.run([sys.executable, '-c', {busy!r}])"
    assert run(code, tmp_path) == (0, "", "")


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    code = """
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
child.wait()
"""
    with pytest.raises(TimeoutError, match=r"hangs:\n[0-9]+") as hung:
        run(code, tmp_path)
    pid = int(str(hung.value).split("hangs:\n")[1])
    while Path(f"/proc/{pid}/stat").exists():
        pass
