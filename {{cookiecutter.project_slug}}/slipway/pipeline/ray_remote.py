"""Runs one stage on any machine. The code is sent there: standard library only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

Files = dict[str, bytes]
"""Contents by name from the root of the repository."""


def run_remote_stage(  # noqa: PLR0913, PLR0917 - a remote call takes plain values
    command: list[str],
    code: Files,
    given: Files,
    wanted: list[str],
    variables: dict[str, str],
    limit: float,
) -> tuple[int | None, bytes, Files]:
    """Write files to a temporary folder, run a command there, and return what it made.

    Returns its exit code (None if it took too long), its output, and the files `wanted`.
    """
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        root = Path(folder)
        for name, content in (code | given).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        exit_code, printed = run_limited(command, root, variables, limit)
        found = sorted({path for pattern in wanted for path in root.glob(pattern)})
        made = {str(path.relative_to(root)): path.read_bytes() for path in found if path.is_file()}
        return exit_code, printed, made


def run_limited(
    command: list[str], root: Path, variables: dict[str, str], limit: float
) -> tuple[int | None, bytes]:
    """Run a command in a folder; return its exit code (None: it took too long) and output."""
    process = subprocess.Popen(  # noqa: S603 - what the compose file of a stage says
        [sys.executable if word == "python" else word for word in command],
        cwd=root,
        env={**os.environ, **variables, "PYTHONPATH": str(root / "src")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return None, b""
    finally:  # also when this process is told to stop
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, printed
