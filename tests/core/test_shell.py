from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from slipway.core import shell
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path


def test_the_exit_code_of_a_command_is_passed_on(tmp_path: Path) -> None:
    shell.run([sys.executable, "-c", ""], cwd=tmp_path)
    with pytest.raises(Refused, match="exit code 3 from") as error:
        shell.run([sys.executable, "-c", "raise SystemExit(3)"], cwd=tmp_path)
    assert error.value.code == 3


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="`no-such-command` is not there"):
        shell.run(["no-such-command", "--now"], cwd=tmp_path)


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="stopped after 1 s") as error:
        shell.run([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path, timeout=1)
    assert error.value.code == 124


def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        command = [sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME;`id`"]
        shell.run(command, cwd=tmp_path, log=file)
    assert log.read_text() == "$HOME;`id`\n"


def test_nothing_outlives_a_command_that_runs_alone(tmp_path: Path) -> None:
    left = "sleep 60 >/dev/null 2>&1 & echo $!"
    done = shell.attempt(["sh", "-c", left], cwd=tmp_path, timeout=30, alone=True)
    number = int(done.out)
    with pytest.raises(Refused, match="stopped after 1 s") as error:
        shell.attempt(["sh", "-c", f"{left} >pid; wait"], cwd=tmp_path, timeout=1, alone=True)
    assert error.value.code == 124
    deadline = time.monotonic() + 10
    for process in (number, int((tmp_path / "pid").read_text())):
        while psutil.pid_exists(process) and psutil.Process(process).status() != "zombie":
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with pytest.raises(Refused, match="is not there"):
        shell.attempt(["no-such-command"], cwd=tmp_path, alone=True)


def test_a_command_reads_the_text_that_it_is_given_or_nothing(tmp_path: Path) -> None:
    assert shell.attempt(["cat"], cwd=tmp_path).out == ""
    assert shell.attempt(["cat"], given="one\n", cwd=tmp_path).out == "one\n"
    raw = ["sh", "-c", "cat; printf '\\377'"]
    assert shell.attempt(raw, given="one", cwd=tmp_path).out == "one\ufffd"
    with pytest.raises(UnicodeDecodeError):
        shell.attempt(raw, cwd=tmp_path)


def test_lines_come_as_they_are_printed(tmp_path: Path) -> None:
    script = "import time; print('one', flush=True); time.sleep(60)"
    start = time.monotonic()
    for line in shell.lines([sys.executable, "-c", script], cwd=tmp_path, env={}, timeout=30):
        assert line == "one\n"
        break
    assert time.monotonic() - start < 20
    with pytest.raises(Refused, match="stopped after 1 s") as late:
        list(shell.lines([sys.executable, "-c", script], cwd=tmp_path, env={}, timeout=1))
    assert late.value.code == 124


def test_how_a_command_of_many_lines_ended_is_told(tmp_path: Path) -> None:
    script = "import sys; print('one'); sys.exit('it went wrong')"
    said = []
    with pytest.raises(Refused, match="it went wrong") as failed:
        said += list(shell.lines([sys.executable, "-c", script], cwd=tmp_path, env={}, timeout=30))
    assert failed.value.code == 1
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(Refused) as dead:
        list(shell.lines([sys.executable, "-c", killed], cwd=tmp_path, env={}, timeout=30))
    assert dead.value.code == 137


def test_output_is_read_as_it_comes_and_ends_with_the_time(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"one\ntwo\n")
    with (
        given.open("rb") as file,
        shell.stream_output(["cat"], cwd=tmp_path, given=file, timeout=20) as process,
    ):
        assert process.stdout
        assert process.stdout.read() == b"one\ntwo\n"
    assert process.returncode == 0
    start = time.monotonic()
    command = [sys.executable, "-c", "import time; print('one', flush=True); time.sleep(60)"]
    with (
        given.open("rb") as file,
        shell.stream_output(command, cwd=tmp_path, given=file, timeout=2) as process,
    ):
        assert process.stdout
        assert process.stdout.read() == b"one\n"
    assert process.returncode
    assert time.monotonic() - start < 20
    with (
        given.open("rb") as file,
        pytest.raises(Refused, match="is not there"),
        shell.stream_output(["no-such-command"], cwd=tmp_path, given=file, timeout=2),
    ):
        pass
