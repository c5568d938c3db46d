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
        words = [sys.executable if word == "python" else word for word in command]
        env = {**os.environ, **variables, "PYTHONPATH": str(root / "src")}
        process = subprocess.Popen(  # noqa: S603 - what the compose file of a stage says
            words,
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code_: int | None = None
        try:
            said, _ = process.communicate(timeout=limit)
            code_ = process.returncode
        except subprocess.TimeoutExpired:
            said = b""
        finally:  # also where this is told to stop
            with suppress(ProcessLookupError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL)
        found = sorted({path for pattern in wanted for path in root.glob(pattern)})
        made = {str(path.relative_to(root)): path.read_bytes() for path in found if path.is_file()}
        return code_, said, made
