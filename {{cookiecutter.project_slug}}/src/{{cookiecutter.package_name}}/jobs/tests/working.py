"""A worker of the kinds of the tests: `python -m <package>.jobs.tests.working tests`."""

from ...shared.console import run
from .. import attempts, kinds, worker
from .kinds import NAMED

if __name__ == "__main__":
    kinds.installed = lambda: NAMED
    attempts.DELAY = 0.3  # nobody waits for longer to see that it grows
    run(worker.main)
