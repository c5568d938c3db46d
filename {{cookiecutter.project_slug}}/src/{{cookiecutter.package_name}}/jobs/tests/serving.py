"""The API with the kinds of the tests: `python -m <package>.jobs.tests.serving <port>`."""

import sys

import uvicorn

from .. import kinds
from .kinds import NAMED

if __name__ == "__main__":
    kinds.installed = lambda: NAMED
    package = (__package__ or "").partition(".")[0]
    uvicorn.run(f"{package}.api:app", port=int(sys.argv[1]), log_level="warning")
