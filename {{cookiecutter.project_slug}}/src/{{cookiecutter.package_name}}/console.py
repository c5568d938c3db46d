"""How the command-line modules speak and fail."""

import sys
from collections.abc import Callable


class AppError(Exception):
    """An expected failure: its message says what happened, where, and what to do."""

    exit_code = 1


def progress(message: str) -> None:
    """Say what is going on, on standard error: standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def run(main: Callable[[], None]) -> None:
    """Run a command; an expected failure ends it with its message and exit code."""
    try:
        main()
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
