"""The operations behind `inv`: tasks ask and say, builders decide, one place runs commands."""

import sys

OLDEST_PYTHON = (3, 11)
if sys.version_info[:2] < OLDEST_PYTHON:
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"Python 3.11 or newer is needed, and this is {version}.\n  -> python3.11 -m venv .venv"
    )
# invoke turns this off for what it loads, and every command would compile all of slipway/ again.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
