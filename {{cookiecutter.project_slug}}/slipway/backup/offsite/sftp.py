"""The SFTP of fsspec, with known servers only.

fsspec accepts any server's key: a machine in the middle would get the password and the data. Here,
the key has to be in ~/.ssh/known_hosts, where one `ssh user@host` puts it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

AT_ONCE = 32 * 1024
"""Bytes that every server gives in one answer."""
ANSWER = 60.0
"""Seconds until a server has to answer."""
PRIVATE = 0o600


class VerifiedSFTP(SFTPFileSystem):  # type: ignore[misc] # the library carries no types
    """SFTP with time limits, and without trust in unknown servers."""

    @staticmethod
    def _get_kwargs_from_urls(urlpath: str) -> dict[str, Any]:
        """Decode user and password of a URL."""
        found = SFTPFileSystem._get_kwargs_from_urls(urlpath)  # noqa: SLF001 - what it overrides
        texts = {name: unquote(found[name]) for name in ("username", "password") if name in found}
        return {**found, **texts}

    def _connect(self) -> None:
        wanted = {"port": 22, **self.ssh_kwargs}
        for name in ("skip_instance_cache", "use_listings_cache"):
            wanted.pop(name, None)
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        self.client.connect(self.host, **wanted)
        self.ftp = self.client.open_sftp()
        if channel := self.ftp.get_channel():
            channel.settimeout(ANSWER)

    def open(self, path: str, mode: str = "rb", block_size: int = 0, **_: object) -> Any:  # noqa: ANN401 - of a library
        """Open a file; requests are pipelined, as each takes a round trip."""
        file = self.ftp.open(self._strip_protocol(path), mode, bufsize=block_size)
        if mode == "rb":
            return ReadAheadFile(file)
        file.set_pipelined(pipelined=True)
        with suppress(OSError):
            self.ftp.chmod(self._strip_protocol(path), PRIVATE)
        return file

    def cat_file(self, path: str, start: int = 0, end: int = AT_ONCE, **_: object) -> bytes:
        """Read a part of a small file."""
        with self.ftp.open(self._strip_protocol(path)) as file:
            file.seek(start)
            return bytes(file.read(end - start))


class ReadAheadFile:
    """A file that is read sequentially, in large blocks."""

    def __init__(self, file: paramiko.SFTPFile) -> None:
        """Take the file."""
        self.file = file
        self.at = 0
        self.size = file.stat().st_size or 0

    def read(self, size: int) -> bytes:
        """Read the next block, requesting all of its parts at once."""
        size = min(size, self.size - self.at)
        starts = range(self.at, self.at + size, AT_ONCE)
        parts = [(start, min(AT_ONCE, self.at + size - start)) for start in starts]
        self.at += size
        return b"".join(self.file.readv(parts)) if parts else b""

    def close(self) -> None:
        """Close it."""
        self.file.close()
