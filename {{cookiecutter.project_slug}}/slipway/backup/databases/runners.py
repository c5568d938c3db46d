"""Where the tools of PostgreSQL run: in a container of the server's image, or in this process."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slipway.core import shell
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from slipway.core.shell import Ended
    from slipway.stack.engines.exec import ServiceContainer

SERVICE = "postgres"
CONTAINER_PATHS = "export FOLDER=/backup WORK=/tmp\n"
"""Where a script finds its folders in a container."""


class ScriptRunner(Protocol):
    """Runs a script that needs the tools of the server's own version and a way to the server.

    The script finds $POSTGRES_DB, the file $DATABASE_URL_FILE, the dump that it reads or writes in
    $FOLDER, and an empty folder of its own in $WORK.
    """

    live: str
    """The database that the application uses."""
    user: str

    def start(self, limit: float) -> bool:
        """Start the server if it is not running; return whether that was needed."""

    def stop(self) -> None:
        """Stop what `start` has started, unless it is in use by now."""

    def run(self, script: str, folder: Path | None, *, write: bool, limit: float) -> Ended:
        """Run a script to its end; no process of it is left behind, however it ends.

        Raises:
            Refused: it takes longer than `limit` seconds.
        """

    def command_to_type(self, command: str) -> str:
        """Return what a person types to run a command beside the server."""


class HostScriptRunner:
    """Runs scripts as children of this process: in the image of the service `scheduler`."""

    def __init__(self) -> None:
        """Take the names of database and user from the environment of the service."""
        self.live, self.user = os.environ["POSTGRES_DB"], os.environ["POSTGRES_USER"]

    def start(self, limit: float) -> bool:
        """Start nothing: a service of the stack cannot start other services."""
        del self, limit
        return False

    def stop(self) -> None:
        """Stop nothing."""

    def run(self, script: str, folder: Path | None, *, write: bool, limit: float) -> Ended:
        """Run a script in a shell that takes its children with it when it ends."""
        del self, write  # the permissions of this user decide
        with tempfile.TemporaryDirectory() as work:
            paths = {"WORK": work, **({"FOLDER": str(folder.resolve())} if folder else {})}
            command = ["sh", "-c", script]
            return shell.attempt(command, cwd=Path(work), env=paths, timeout=limit, alone=True)

    def command_to_type(self, command: str) -> str:
        """Return the command unchanged: it is typed inside this container."""
        del self
        return command


class ContainerScriptRunner:
    """Runs each script in a container of its own, which is removed afterwards."""

    def __init__(self, server: ServiceContainer) -> None:
        """Take the container of the server.

        Raises:
            Refused: the stack has no service `postgres`.
        """
        if not server.is_defined:
            raise Refused("the stack has no service postgres, so there is nothing to back up")
        self.engine = server.engine
        environment = server.environment
        self.live, self.user = environment["POSTGRES_DB"], environment["POSTGRES_USER"]
        self.prefix = f"{self.engine.stack.name}-backup-"

    def start(self, limit: float) -> bool:
        """Start the server if it is not running."""
        return self.engine.start_service(SERVICE, limit)

    def stop(self) -> None:
        """Stop the server, unless other services are running."""
        self.engine.stop_if_alone(SERVICE)

    def run(self, script: str, folder: Path | None, *, write: bool, limit: float) -> Ended:
        """Run a script in a container, which is removed if its caller is interrupted."""
        if folder:
            for left in self.engine.stack.one_off():  # by callers that were killed
                if str(left.name).startswith(self.prefix):
                    self.engine.stack.remove(str(left.name))
        name = f"{self.prefix}{secrets.token_hex(4)}"
        words = container_arguments(CONTAINER_PATHS + script, name, folder, write=write)
        try:
            return self.engine.compose.attempt(*words, limit=limit)
        except BaseException:  # the container would go on without its caller
            self.engine.stack.remove(name)
            raise

    def command_to_type(self, command: str) -> str:
        """Return what a person types to run a command in the server's container."""
        (container, *_) = [*self.engine.containers(SERVICE), None]
        return f"docker exec {container.name if container else SERVICE} {command}"


def container_arguments(script: str, name: str, folder: Path | None, *, write: bool) -> list[str]:
    """Build what follows `docker compose`: a container of the service's image that runs a script.

    It runs as the owner of the folder: without capabilities, root may not write there either.
    """
    owner = folder.stat() if folder else None
    ids = (owner.st_uid, owner.st_gid) if owner else (os.getuid(), os.getgid())
    user = f"--user={ids[0]}:{ids[1]}"
    mode = "" if write else ":ro"
    volume = [f"--volume={folder.resolve()}:/backup{mode}"] if folder else []
    options = ["--rm", "--no-deps", "--no-TTY", f"--name={name}", user, *volume]
    return ["--progress", "quiet", "run", *options, "--entrypoint=sh", SERVICE, "-c", script]
