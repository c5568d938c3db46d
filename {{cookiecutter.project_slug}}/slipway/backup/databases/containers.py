"""The tools of PostgreSQL in containers of the service's own image, one for each script."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from slipway.core.shell import Ended
    from slipway.stack.engines.exec import ServiceContainer

SERVICE = "postgres"
PLACES = "export FOLDER=/backup WORK=/tmp\n"
"""Where a container of its own has what a script looks for."""


class Contained:
    """Runs each script in a container that is made for it, and removed."""

    def __init__(self, server: ServiceContainer) -> None:
        """Take the container of the server.

        Raises:
            Refused: the stack has no such service.
        """
        if not server.is_defined:
            raise Refused("the stack has no service postgres, so nothing here can be backed up")
        self.engine = server.engine
        environment = server.environment
        self.live, self.user = environment["POSTGRES_DB"], environment["POSTGRES_USER"]
        self.prefix = f"{self.engine.stack.name}-backup-"

    def start(self, limit: float) -> bool:
        """Start the server where it does not run."""
        return self.engine.start_service(SERVICE, limit)

    def stop(self) -> None:
        """Stop the server, unless others run beside it."""
        self.engine.stop_if_alone(SERVICE)

    def run(self, script: str, folder: Path | None, *, write: bool, limit: float) -> Ended:
        """Run it in a container, which is removed if whoever waits for it goes."""
        if folder:
            self._remove(self._left())
        name = f"{self.prefix}{secrets.token_hex(4)}"
        words = arguments(PLACES + script, name, folder, write=write)
        try:
            return self.engine.compose.attempt(*words, limit=limit)
        except BaseException:  # it would go on without
            self._remove([name])
            raise

    def typed(self, command: str) -> str:
        """Return what a person types to run a command in the server's container."""
        (container, *_) = [*self.engine.containers(SERVICE), None]
        return f"docker exec {container.name if container else SERVICE} {command}"

    def _left(self) -> list[str]:
        """Return the containers of those that were killed."""
        names = (str(item.name) for item in self.engine.stack.one_off())
        return [name for name in names if name.startswith(self.prefix)]

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.engine.stack.remove(name)


def arguments(script: str, name: str, folder: Path | None, *, write: bool) -> list[str]:
    """Build what follows `docker compose`: a container of the service's image that runs a script.

    It runs as the owner of the folder: root in a container without capabilities is nobody else.
    """
    owner = folder.stat() if folder else None
    ids = (owner.st_uid, owner.st_gid) if owner else (os.getuid(), os.getgid())
    user = f"--user={ids[0]}:{ids[1]}"
    mode = "" if write else ":ro"
    volume = [f"--volume={folder.resolve()}:/backup{mode}"] if folder else []
    options = ["--rm", "--no-deps", "--no-TTY", f"--name={name}", user, *volume]
    return ["--progress", "quiet", "run", *options, "--entrypoint=sh", SERVICE, "-c", script]
