"""What commands print comes out as it was, but for secrets."""

from __future__ import annotations

import os
import pty
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from slipway.core import redaction, shell
from slipway.core.redaction import MASK
from tests.support.scratch import IN_PLACE

OUTER = """
import sys
from pathlib import Path
from slipway.core import redaction, shell
redaction.remember_secrets([{value!r}])
shell.run([sys.executable, "-c", sys.argv[1]], cwd=Path.cwd())
"""


@pytest.fixture
def value(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a value that is known as secret during a test."""
    monkeypatch.setattr(redaction, "_forms", [])
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    made = secrets.token_urlsafe(32)
    redaction.remember_secrets([made])
    return made


def outer(value: str, script: str, **streams: int) -> subprocess.Popen[bytes]:
    """Start a process that runs a script as the tasks run commands."""
    command = [sys.executable, "-c", OUTER.format(value=value), script]
    return subprocess.Popen(command, env=IN_PLACE, **streams)  # type: ignore[call-overload,no-any-return]


def test_output_and_errors_go_where_they_went_without_secrets(value: str) -> None:
    script = f"""
import sys, time
for part in ("out ", {value[:9]!r}, {value[9:]!r} + chr(10)):
    sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.1)
sys.stderr.write("err " + {value!r})
sys.stdout.buffer.write(b"raw \\xff\\xe2\\x82\\xac")
"""
    with outer(value, script, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read() == f"out {MASK}\nraw ".encode() + b"\xff\xe2\x82\xac"
        assert process.stderr.read() == f"err {MASK}".encode()
    assert process.returncode == 0


def test_a_log_gets_both_without_secrets(value: str, tmp_path: Path) -> None:
    script = f"import os; os.write(1, b'one {value}\\n'); os.write(2, b'two {value[:5]}')"
    with (tmp_path / "log").open("ab") as log:
        shell.run([sys.executable, "-c", script], cwd=tmp_path, log=log)
        assert (tmp_path / "log").read_text() == f"one {MASK}\ntwo {value[:5]}"


@pytest.mark.usefixtures("value")
def test_what_is_printed_is_shown_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = "import sys; print('one', flush=True); sys.stdin.read(); import time; time.sleep(60)"
    with (
        path.open("ab") as log,
        shell.start([sys.executable, "-c", script], cwd=tmp_path, log=log) as process,
    ):
        deadline = time.monotonic() + 20
        while path.read_text() != "one\n":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()


@pytest.mark.usefixtures("value")
def test_what_a_command_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    start = time.monotonic()
    with (tmp_path / "log").open("ab") as log:
        shell.run(["sh", "-c", "echo one; sleep 30 & echo $! >pid"], cwd=tmp_path, log=log)
    assert time.monotonic() - start < 10
    assert (tmp_path / "log").read_text() == "one\n"
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_in_a_terminal_a_command_finds_one_of_its_size(value: str) -> None:
    import fcntl  # noqa: PLC0415 - of this test alone
    import struct  # noqa: PLC0415 - the same
    import termios  # noqa: PLC0415 - the same

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    ask = f"import os; print(os.isatty(1), os.isatty(2), *os.get_terminal_size(1), {value!r})"
    with outer(value, ask, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # how a terminal ends
            while block := os.read(ours, 1000):
                said += block
    os.close(ours)
    assert process.returncode == 0
    assert said.decode() == f"True True 77 33 {MASK}\r\n"


def test_a_command_ends_when_the_reader_has_seen_enough(value: str) -> None:
    script = "while True: print('more', flush=True)"
    with outer(value, script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stdout.readline() == b"more\n"
        process.stdout.close()
        assert process.wait(timeout=20)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_disk_that_is_full_is_told_of(tmp_path: Path) -> None:
    with Path("/dev/full").open("ab", buffering=0) as log, pytest.raises(OSError, match="space"):
        shell.run([sys.executable, "-c", "print('one')"], cwd=tmp_path, log=log)
