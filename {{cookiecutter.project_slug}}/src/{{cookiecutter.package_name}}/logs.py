"""What is logged: our own lines from the level of the settings on, those of libraries from INFO."""

import logging

from .shared import masking

FORMAT = "%(levelname)s: %(message)s"
SERVER = ("uvicorn", "uvicorn.error", "uvicorn.access")
"""The loggers that uvicorn sets up by itself."""


def configure(level: str) -> None:
    """Log from a level on, and no secret.

    What libraries say of every query and connection would hide our own lines at the level debug,
    and hold more than anybody should read.
    """
    ours = logging.getLevelNamesMapping()[level.upper()]
    theirs = max(ours, logging.INFO)
    logging.basicConfig(format=FORMAT)
    for name in ("", *SERVER):
        logging.getLogger(name).setLevel(theirs)
    logging.getLogger(__package__).setLevel(ours)
    masking.install()
