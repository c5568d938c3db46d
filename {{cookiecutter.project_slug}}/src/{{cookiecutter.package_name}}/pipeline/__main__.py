"""Run a stage: `python -m <package>.pipeline <stage> --series temp_max --interval 1d`."""

from ..shared.console import run
from .command import main

if __name__ == "__main__":
    run(main)
