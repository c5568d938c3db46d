"""The one place that runs commands."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.core.errors import Refused
from slipway.core.pty import relayed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO


@contextmanager
def start(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
    alone: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command that is watched while it runs, and wait for its end.

    Its output goes to the terminal, or into `log`, without secrets. What has a log asks nobody.
    One that runs `alone` gets no signal of this process's group.

    Raises:
        Refused: the command is not found.
    """
    asked = subprocess.DEVNULL if log else None
    with (
        relayed(log) as (out, err),
        _begun(
            command, cwd, env, stdin=asked, stdout=out, stderr=err, start_new_session=alone
        ) as process,
    ):
        yield process


@dataclass(frozen=True)
class Ended:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def attempt(  # noqa: PLR0913 - what, with what, and how
    command: Sequence[str],
    *,
    cwd: Path,
    given: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    alone: bool = False,
) -> Ended:
    """Run a command whose exit code is an answer; `timeout` is in seconds.

    It reads what is `given`: others can read a list of arguments, but not that; bytes that are no
    text are replaced in what it prints then. One that runs `alone` gets no signal of this process's
    group, and nothing that it started outlives it.

    Raises:
        Refused: the command is not found or takes longer than `timeout`.
    """
    asked, errors = (subprocess.DEVNULL, None) if given is None else (subprocess.PIPE, "replace")
    piped = {"stdin": asked, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    read = {"text": True, "errors": errors, "start_new_session": alone}
    with _begun(command, cwd, env, **piped, **read) as process:
        try:
            out, err = process.communicate(given, timeout)
        except subprocess.TimeoutExpired as error:
            raise _too_long(command, timeout) from error
        finally:
            with suppress(ProcessLookupError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL) if alone else process.kill()
    return Ended(process.returncode, out, err)


def read(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 60
) -> str:
    """Run a command and return what it printed; `timeout` is in seconds.

    Raises:
        Refused: the command is not found, exits non-zero or takes longer than `timeout`.
    """
    done = attempt(command, cwd=cwd, env=env, timeout=timeout)
    if done.code:
        raise Refused(f"{shlex.join(command)}: {done.err.strip()}", code=done.code)
    return done.out


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
    timeout: float | None = None,
) -> None:
    """Run a command to its end; its output goes to the terminal, or into `log`.

    `timeout` is in seconds; only what a person watches and may end runs without one.

    Raises:
        Refused: the command is not found, exits non-zero or takes longer than `timeout`.
    """
    with start(command, cwd=cwd, env=env, log=log) as process:
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise _too_long(command, timeout or 0) from error
        except BaseException:
            process.kill()
            raise
    if code:
        raise _failed(command, code)


def run_interactively(command: Sequence[str], *, cwd: Path) -> None:
    """Run a command that a person works in, such as an editor; it has the terminal to itself.

    Nothing is masked: they are to see what they change.

    Raises:
        Refused: the command is not found or exits non-zero.
    """
    with _begun(command, cwd, None) as process:
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if code:
        raise _failed(command, code)


def lines(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> Iterator[str]:
    """Run a command and yield the lines that it prints as they come; `timeout` is in seconds.

    Raises:
        Refused: the command is not found, exits non-zero or takes longer than `timeout`.
    """
    with tempfile.TemporaryFile() as errors:
        piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": errors}
        process = _begun(command, cwd, env, **piped, text=True)
        timer, start = threading.Timer(timeout, process.kill), time.monotonic()
        timer.start()
        with process:
            try:
                yield from process.stdout or ()
                code = process.wait()
            except BaseException:  # whoever reads has seen enough, or was interrupted
                process.kill()
                raise
            finally:
                timer.cancel()
        if code < 0 and time.monotonic() - start >= timeout:
            raise _too_long(command, timeout)
        if code:
            errors.seek(0)
            raise _failed(command, code, errors.read().decode(errors="replace").strip())


@contextmanager
def stream_output(
    command: Sequence[str], *, cwd: Path, given: IO[bytes], timeout: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command over what it is given, for its output to be read as it comes.

    After `timeout` seconds it is ended, and so is its output: its exit code is not 0 then.
    """
    streams = {"stdin": given, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = _begun(command, cwd, None, **streams)
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    try:
        with process:
            yield process
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def _begun(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str] | None,
    **how: Any,  # noqa: ANN401 - what Popen takes
) -> subprocess.Popen[Any]:
    try:
        return subprocess.Popen(  # noqa: S603 - lists built by this repository, never a shell
            command, cwd=cwd, env={**os.environ, **(env or {})}, **how
        )
    except FileNotFoundError as error:
        raise _not_there(command) from error
    except OSError as error:
        raise Refused(f"`{command[0]}` cannot be run: {error.strerror}") from error


def _not_there(command: Sequence[str]) -> Refused:
    shown = shlex.join(command)
    return Refused(f"`{command[0]}` is not there, so this cannot run: {shown}", "inv doctor")


def _too_long(command: Sequence[str], timeout: float) -> Refused:
    return Refused(f"stopped after {timeout:.0f} s without an end: {shlex.join(command)}", code=124)


def _failed(command: Sequence[str], code: int, said: str = "") -> Refused:
    what = "\n".join(filter(None, [f"exit code {code} from: {shlex.join(command)}", said]))
    return Refused(what, code=code if code > 0 else 128 - code)
