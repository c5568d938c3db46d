"""Real servers that storages are tested against: S3 by moto, and SSH where it is installed."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.scratch import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
KEYS = {"key": "the-access-key", "secret": "the-storage-secret"}
BUCKET = "backups"


@dataclass(frozen=True)
class S3:
    """A server that speaks S3."""

    port: int

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec needs to find it."""
        return KEYS | {"endpoint_url": f"http://127.0.0.1:{self.port}"}

    @property
    def environment(self) -> str:
        """The same, as an env file has it."""
        return f"BACKUP_URL_OPTIONS='{json.dumps(self.options)}'"

    def post(self, path: str, body: str = "") -> None:
        """Tell the server itself something."""
        url = f"http://127.0.0.1:{self.port}/moto-api/{path}"
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "text/plain"})
        urllib.request.urlopen(request, timeout=10).close()

    def make_bucket(self) -> None:
        """Start again, with an empty bucket."""
        self.post("reset")
        url = f"http://127.0.0.1:{self.port}/{BUCKET}"
        headers = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"
        }
        request = urllib.request.Request(url, b"", headers, method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Let it look at who asks: it knows nobody."""
        self.post("reset-auth", "0")
        try:
            yield
        finally:
            self.post("reset-auth", "inf")


@contextmanager
def s3() -> Iterator[S3]:
    """Run a server that speaks S3."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with _running(command, port):
        yield S3(port)


@contextmanager
def ssh(home: Path) -> Iterator[int]:
    """Run an SSH server that knows the key in a home folder, and is known there; give its port."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    for name in ("id_ed25519", "host"):
        _made_key(folder / name)
    port, public = free_port(), (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    options = {
        "AuthorizedKeysFile": folder / "id_ed25519.pub",
        "HostKey": folder / "host",
        "ListenAddress": "127.0.0.1",
        "PidFile": "none",
        "StrictModes": "no",
        "Subsystem": "sftp internal-sftp",
        "UsePAM": "no",
    }
    (folder / "config").write_text("".join(f"{name} {said}\n" for name, said in options.items()))
    command = [str(SSHD), "-D", "-e", "-p", str(port), "-f", str(folder / "config")]
    with _running(command, port):
        yield port


def _made_key(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)


def ssh_works() -> bool:
    """Tell whether an SSH server can run here: as root it needs a folder of its own."""
    return bool(SSHD and shutil.which("ssh-keygen")) and (
        getpass.getuser() != "root" or os.path.isdir("/run/sshd")  # noqa: PTH112 - one call
    )


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    """Run a server, and end it."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        _await(port, process)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server has ended"
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise AssertionError("the server does not listen")


@contextmanager
def hanging() -> Iterator[int]:
    """Take connections, and never answer; give the port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])
