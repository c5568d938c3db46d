"""A worker of the kinds of the tests: `python -m <package>.jobs.tests.working tests`."""

from ...console import run
from .. import kinds, worker
from .kinds import NAMED

if __name__ == "__main__":
    kinds.installed = lambda: NAMED
    run(worker.main)
