"""Whether a service is healthy, and which process holds a port."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE = 2.0
"""Seconds that a health check waits for an answer."""
BEAT = 60.0
"""Seconds within which a service that shows life by a file touches it."""

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy


def probe_health(url: str) -> str:
    """Ask a health address; return an empty string if the service is healthy, else what is wrong.

    `http://` must answer 200, `tcp://` must accept a connection, and the file of `file://` must
    have been touched within the last minute.
    """
    scheme = url.partition(":")[0]
    return {"tcp": _ask_tcp, "file": _ask_file}.get(scheme, _ask_http)(url)


def _ask_http(url: str) -> str:
    return _send(urllib.request.Request(url), PATIENCE)  # noqa: S310 - an address of the stack


def _send(request: urllib.request.Request, patience: float) -> str:
    asked = f"{request.get_method()} {request.full_url}"
    try:
        with _OPENER.open(request, timeout=patience) as answer:
            return "" if answer.status == HTTPStatus.OK else f"{asked} answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{asked} answered {error.code}: {error.read(500).decode(errors='replace')}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{asked}: {getattr(error, 'reason', error)}"


def _ask_tcp(url: str) -> str:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE):
            return ""
    except OSError as error:
        return f"{url}: {error.strerror or error}"


def _ask_file(url: str) -> str:
    path = Path(url.removeprefix("file://"))
    try:
        age = time.time() - path.stat().st_mtime
    except OSError as error:
        return f"{path}: {error.strerror}"
    if abs(age) < BEAT:
        return ""
    when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future: check the clock"
    return f"{path} was last touched {when}"


def port_taken(port: int) -> bool:
    """Say whether a process of this machine holds a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still closing down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def refuse_taken_ports(wanted: Mapping[str, int]) -> None:
    """Check that the ports of services are free.

    Raises:
        Refused: some are taken; each is named, with the process that holds it.
    """
    taken = {name: port for name, port in wanted.items() if port_taken(port)}
    if taken:
        lines = [
            f"{name} needs port {port}: held by {port_holder(port)}" for name, port in taken.items()
        ]
        fix = "stop that process, or set other ports (`inv env.show` lists the variables)"
        raise Refused("\n".join(lines), fix)


def port_holder(port: int) -> str:
    """Name the process that listens on a port, if this user may see it."""
    import psutil  # noqa: PLC0415 - speed: only a message needs it

    from slipway.stack import processes  # noqa: PLC0415 - speed: it imports psutil

    try:
        pids = [
            held.pid
            for held in psutil.net_connections("tcp")
            if held.laddr
            and held.laddr.port == port
            and held.status == psutil.CONN_LISTEN
            and held.pid
        ]
        return processes.describe_process(psutil.Process(pids[0])) if pids else "another process"
    except psutil.Error:
        return "another process"
