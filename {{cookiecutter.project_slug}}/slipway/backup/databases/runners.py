"""Where the tools of PostgreSQL run: in a container of the server's image, or here."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slipway.core import shell

if TYPE_CHECKING:
    from slipway.core.shell import Ended


class Runner(Protocol):
    """Runs a script where the tools of the server's own version are, and the server is reached.

    The script finds $POSTGRES_DB, the file $DATABASE_URL_FILE, the copy that it reads or writes in
    $FOLDER, and an empty folder of its own in $WORK.
    """

    live: str
    """The database that the application uses."""
    user: str

    def start(self, limit: float) -> bool:
        """Start the server where it does not run; say whether it had to be."""

    def stop(self) -> None:
        """Stop what `start` has started, unless it is in use by now."""

    def run(self, script: str, folder: Path | None, *, write: bool, limit: float) -> Ended:
        """Run a script to its end; however this ends, nothing of the script goes on.

        Raises:
            Refused: it takes longer than `limit` seconds.
        """

    def typed(self, command: str) -> str:
        """Return what a person types to run a command beside the server."""


class Here:
    """Runs scripts in this process's own surroundings: the image of the service `scheduler`."""

    def __init__(self) -> None:
        """Take the names of database and user from the environment that the service is given."""
        self.live, self.user = os.environ["POSTGRES_DB"], os.environ["POSTGRES_USER"]

    def start(self, limit: float) -> bool:
        """Have nothing to start: who runs in the stack is no one to start others."""
        del self, limit
        return False

    def stop(self) -> None:
        """Have nothing to stop."""

    def run(self, script: str, folder: Path | None, *, write: bool, limit: float) -> Ended:
        """Run it in a shell of its own, which ends with all that it started."""
        del self, write  # its user may write what it may
        with tempfile.TemporaryDirectory() as work:
            places = {"WORK": work, **({"FOLDER": str(folder.resolve())} if folder else {})}
            command = ["sh", "-c", script]
            return shell.attempt(command, cwd=Path(work), env=places, timeout=limit, alone=True)

    def typed(self, command: str) -> str:
        """Return it as it is: a person has to be in this container to type it."""
        del self
        return command
