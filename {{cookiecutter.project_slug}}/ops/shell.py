"""The one place that runs commands."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

from ops.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import IO


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
    shown = shlex.join(command)
    try:
        code = subprocess.run(  # noqa: S603 - lists built by this repository, never a shell
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL if log else None,
            stdout=log,
            stderr=subprocess.STDOUT if log else None,
            timeout=timeout,
            check=False,
        ).returncode
    except FileNotFoundError as error:
        raise Refused(
            f"`{command[0]}` is not there, so this cannot run: {shown}", "inv doctor"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Refused(f"stopped after {timeout:.0f} s without an end: {shown}", code=124) from error
    if code:
        raise Refused(f"exit code {code} from: {shown}", code=code if code > 0 else 128 - code)
