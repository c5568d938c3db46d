"""Output and failure of the command-line modules."""

import errno
import sys
from collections.abc import Callable


class AppError(Exception):
    """An expected failure: the message says what happened, where, and what to do."""

    exit_code = 1


def progress(message: str) -> None:
    """Print progress to standard error: standard output is for results."""
    print(message, file=sys.stderr, flush=True)


REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space on that disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give this user read and write permission"),
    errno.EROFS: "mount it read-write",
    errno.ENOENT: "create it, or correct the path in the settings",
}
"""What to do when the operating system refuses a file."""


def run(main: Callable[[], None]) -> None:
    """Run a command; an expected failure ends it with its message and exit code."""
    try:
        main()
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        sys.exit(AppError.exit_code)


def explain(error: OSError) -> str:
    """Describe in one line what the operating system refused, where, and what to do."""
    where = error.filename or "a file or a connection"
    remedy = REMEDIES.get(error.errno or 0, "check that path")
    return f"{where}: {error.strerror or error}; {remedy}"
