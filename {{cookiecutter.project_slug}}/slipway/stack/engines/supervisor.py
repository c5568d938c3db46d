"""supervisord: its configuration, and the calls it answers.

It runs processes in the background, restarts those that die, and rotates logs.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tempfile
import time
import xmlrpc.client
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil
from supervisor.states import ProcessStates
from supervisor.xmlrpc import SupervisorTransport, UnixStreamHTTPConnection

from slipway.core.errors import Refused
from slipway.stack import processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slipway.stack.services import LocalService

DIED = (ProcessStates.BACKOFF, ProcessStates.EXITED, ProcessStates.FATAL)
PATIENCE = 5.0
"""Seconds that one call to supervisord may take."""
STOP_WAIT = 10
"""Seconds that a process has to end by itself before it is killed."""
POLL = 0.02
"""Seconds between two calls to a supervisord that is ending."""
ENDING = "SHUTDOWN_STATE"
"""Its answer while it is stopping its processes."""
_LONGEST_SOCKET = 90  # the kernel takes 107 bytes (macOS 103), and supervisord adds its process id


@dataclass(frozen=True)
class SupervisorFiles:
    """The files of one supervised stack."""

    root: Path
    folder: Path

    @property
    def config(self) -> Path:
        """The configuration of supervisord."""
        return self.folder / "supervisord.conf"

    @property
    def pid(self) -> Path:
        """The process id of the running supervisord."""
        return self.folder / "supervisord.pid"

    @property
    def own_log(self) -> Path:
        """The log of supervisord: starts, exits, restarts."""
        return self.folder / "supervisord.log"

    @property
    def state(self) -> Path:
        """The running stack: its services, and a digest of what they were started from."""
        return self.folder / "stack.json"

    def log(self, service: str) -> Path:
        """Return the log of a service."""
        return self.folder / f"{service}.log"

    def relative(self, path: Path) -> Path:
        """Return a path relative to the root, if it is below it."""
        return path.relative_to(self.root) if path.is_relative_to(self.root) else path

    @property
    def socket(self) -> Path:
        """The socket of supervisord: beside its files, or elsewhere if that path is too long."""
        beside = self.folder / "supervisord.sock"
        if _is_short(beside):
            return beside
        name = f"{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]}.sock"
        folder = Path(f"slipway-{os.getuid()}")
        above = Path(tempfile.gettempdir())
        if not _is_short(above / folder / name):  # TMPDIR may be anywhere
            above = Path("/tmp")  # noqa: S108 - the folder in it is private, or refused
        return _private(above / folder) / name


def _is_short(path: Path) -> bool:
    """Say whether a path is short enough for a socket."""
    return len(os.fsencode(path)) <= _LONGEST_SOCKET


def _private(folder: Path) -> Path:
    """Return a folder that only this user can enter, made if it does not exist."""
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    held = folder.lstat()
    if not stat.S_ISDIR(held.st_mode) or held.st_uid != os.getuid() or held.st_mode & 0o077:
        raise Refused(f"{folder} is not a private folder of yours", f"remove it: rm -r {folder}")
    return folder


def supervisor_config(
    services: Iterable[LocalService], places: SupervisorFiles, own: Mapping[str, Mapping[str, str]]
) -> str:
    """Return the configuration of a supervisord that is started in the repository's folder.

    It holds no secret: processes inherit the environment, and variables of their `own` name the
    files with their secrets. Paths are relative, because supervisord expands `%` once in some
    values and twice in others, so that no way of escaping suits every folder's name.
    """
    general: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": places.relative(places.socket), "chmod": "0700"},
        "supervisord": {
            "logfile": places.relative(places.own_log),
            "logfile_maxbytes": "10MB",
            "logfile_backups": 5,
            "pidfile": places.relative(places.pid),
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    programs = {
        f"program:{item.name}": _program(item, places, own.get(item.name, {}))
        for item in services
        if not item.once
    }
    return "\n".join(_section(name, keys) for name, keys in (general | programs).items())


def _program(
    service: LocalService, places: SupervisorFiles, own: Mapping[str, str]
) -> dict[str, object]:
    return {
        "command": shlex.join(service.command),
        "environment": ",".join(f'{name}="{value}"' for name, value in own.items()),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": 1,
        "stopsignal": service.signal,
        "stopwaitsecs": STOP_WAIT,
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": places.relative(places.log(service.name)),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 5,
    }


def _section(name: str, keys: Mapping[str, object]) -> str:
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in keys.items()]
    return "\n".join([f"[{name}]", *lines, ""])


class _Connection(UnixStreamHTTPConnection):  # type: ignore[misc]  # the library has no types
    """A connection that times out; the library's own waits for ever."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(PATIENCE)


class _Transport(SupervisorTransport):  # type: ignore[misc]  # the library has no types
    def __init__(self, socket: Path) -> None:
        super().__init__(serverurl=f"unix://{socket}")
        self._get_connection = lambda: self._connect(socket)

    @staticmethod
    def _connect(socket: Path) -> _Connection:
        connection = _Connection("localhost")
        connection.socketfile = str(socket)
        return connection


class Supervisor:
    """The supervisord of one stack."""

    def __init__(self, places: SupervisorFiles) -> None:
        """Take the files it is found by; nothing is started or asked yet."""
        self.places = places

    def process(self) -> psutil.Process | None:
        """Return the running supervisord; None if there is none."""
        try:
            process = psutil.Process(int(self.places.pid.read_text()))
            ours = str(self.places.config) in process.cmdline()
        except (OSError, ValueError, psutil.Error):
            return None
        return process if ours else None  # else another process has the number now

    @property
    def is_reachable(self) -> bool:
        """Whether its socket is there: without it, it runs on and hears nothing."""
        return self.places.socket.is_socket()

    def call(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - XML-RPC has no types
        """Call supervisord.

        Raises:
            Refused: it does not answer, or refuses.
        """
        transport = _Transport(self.places.socket)
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport, allow_none=True)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, xmlrpc.client.Error) as error:
            reason = getattr(error, "faultString", error)
            if reason == ENDING:
                again = "wait a few seconds, then: inv deploy.status"
                raise Refused("the stack is being stopped", again) from error
            raise Refused(
                f"supervisord could not {method}: {reason}", f"read {self.places.own_log}"
            ) from error
        finally:
            transport.close()

    def states(self) -> dict[str, dict[str, Any]]:
        """Return supervisord's view of each process, by name; empty when it is not running."""
        if not self.process():
            return {}
        try:
            found = cast("list[dict[str, Any]]", self.call("getAllProcessInfo"))
        except Refused:
            if self.process():
                raise
            return {}  # it ended between the two calls
        return {info["name"]: info for info in found}

    def await_start(self, limit: float = 10.0) -> None:
        """Wait until it answers.

        Raises:
            Refused: it does not within `limit` seconds.
        """
        deadline = time.monotonic() + limit
        while True:
            try:
                self.call("getState")
            except Refused:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def orphans(self) -> list[psutil.Process]:
        """Return processes of this stack that are left although its supervisord is gone."""
        return [] if self.process() else processes.marked_processes(self.places.root)

    def stop(self) -> bool:
        """End it and every process of its stack; say whether anything ran.

        Raises:
            Refused: a process is still running after all that.
        """
        process = self.process()
        if process:
            process.terminate()  # it ends its processes in order
            self._await_end(process, STOP_WAIT + 5)
        left = processes.marked_processes(self.places.root)
        processes.end_processes(left, STOP_WAIT)
        self.places.state.unlink(missing_ok=True)
        return bool(process or left)

    def _await_end(self, process: psutil.Process, limit: float) -> None:
        """Wait until it has ended, and keep calling it.

        Without calls it looks for processes that have ended just once a second, one at a time.
        """
        deadline = time.monotonic() + limit
        while processes.await_exit([process], POLL) and time.monotonic() < deadline:
            with suppress(Refused):
                self.call("getState")
