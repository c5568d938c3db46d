"""The template's own tools: bake, demo, bench, sizes."""

import sys

OLDEST_PYTHON = (3, 11)
if sys.version_info[:2] < OLDEST_PYTHON:
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"Python 3.11 or newer is needed, and this is {version}.\n  -> python3.11 -m venv .venv"
    )
