"""Storages: remote folders, at any URL that fsspec supports: s3, sftp, file and others.

The failure of a library is reported in one line, without passwords or options. Every wait has a
limit: that of the library, if it has one, and one of ours, because a server may accept a connection
and then neither read nor answer.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from slipway.config.values import without_password
from slipway.core.errors import Refused
from slipway.core.files import parse_json_value
from slipway.core.redaction import MASK, remember_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT, ANSWER = 10, 30
"""Seconds to connect to a server, and to wait for an answer."""
TRIES = 2
LONGEST = 300.0
"""Seconds that any operation may take; a part of an upload takes longest."""
PART = 8 * 1024**2
"""Bytes that are transferred at once, and held in memory."""
MOST_PARTS = 9000
"""S3 accepts up to 10,000 parts of a file."""
URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+]*)://(?P<rest>.*)")
RENAMING = ("file", "local", "sftp", "ssh")
"""Storages where a file is visible while it is written, and a rename is atomic."""
OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Storages without folders: a folder is only a prefix of names."""
NEXT = "set BACKUP_URL right: inv env.show"
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""What a library takes from this process's environment by itself, and logs."""
OPTIONS = """BACKUP_URL_OPTIONS='{"key": "...", "secret": "..."}'"""


def is_url(text: str) -> bool:
    """Tell whether a text is a URL, and not a path of this machine."""
    return "://" in text


def read_options(text: str) -> dict[str, Any]:
    """Parse BACKUP_URL_OPTIONS; errors do not quote its content.

    Raises:
        Refused: it is not a JSON object.
    """
    try:
        said = parse_json_value(text or "{}")
    except ValueError as error:
        place = getattr(error, "pos", 0)
        what = f"BACKUP_URL_OPTIONS is no JSON, from character {place} on"
        raise Refused(what, OPTIONS, code=2) from None
    if not isinstance(said, dict):
        raise Refused("BACKUP_URL_OPTIONS is no JSON object", OPTIONS, code=2)
    return said


def try_options(values: Mapping[str, str], options: str) -> str:
    """Open the storage of an env file's values with new options; return what it holds.

    Raises:
        Refused: it does not accept them.
    """
    read = read_options(options)
    if "BACKUP_URL" not in values:
        return "BACKUP_URL is not set"
    storage = open_storage(values["BACKUP_URL"], read)
    return f"{storage.shown} holds {len(storage.sizes())} files"


def open_storage(url: str, options: Mapping[str, Any] | None = None) -> Storage:
    """Return the storage at a URL, not connected yet.

    Raises:
        Refused: it is not a URL, or its protocol is not supported.
    """
    shown = without_password(url)
    found = URL.fullmatch(url)
    if not found or "::" in url:
        raise Refused(f"{shown!r} is no URL of a storage", "such as s3://bucket/folder", code=2)
    if not found["rest"].strip("/"):
        raise Refused(f"{shown} names no folder", f"such as {found['protocol']}://.../x", code=2)
    kind, url = _class(found["protocol"]), url.rstrip("/")
    try:
        kind._get_kwargs_from_urls(url), kind._strip_protocol(url)  # noqa: SLF001 - what url_to_fs calls too
    except Exception:  # noqa: BLE001 - the message may hold a part of the password
        fix = "write special characters in a name or password as %XX, or use BACKUP_URL_OPTIONS"
        raise Refused(f"{shown} cannot be read", fix, code=2) from None
    return Storage(url, dict(options or {}))


def _class(protocol: str) -> Any:  # noqa: ANN401 - the library carries no types
    """Return what fsspec has for a protocol."""
    import fsspec  # noqa: PLC0415 - speed: `inv --list` waits for none of it

    if protocol in ("sftp", "ssh"):
        from slipway.backup.offsite.sftp import VerifiedSFTP  # noqa: PLC0415 - speed: it loads paramiko

        return VerifiedSFTP
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:  # it knows the protocol, and names the missing package
        raise Refused(f"{protocol}:// needs another package: {error}", "pip install it") from None
    except ValueError:
        fix = "s3://bucket/folder, sftp://user@host/folder or file:///mnt/folder"
        raise Refused(f"{protocol}:// is not supported", fix, code=2) from None


@dataclass(frozen=True)
class Storage:
    """A remote folder."""

    url: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """Its URL as it may be printed."""
        return without_password(self.url)

    @property
    def protocol(self) -> str:
        """The protocol of its URL."""
        return self.url.partition("://")[0]

    @cached_property
    def _files(self) -> Any:  # noqa: ANN401 - the library carries no types
        """The file system of fsspec; this may connect."""
        remember_secrets(os.environ.get(name, "") for name in CREDENTIALS)
        kind = _class(self.protocol)
        said = kind._get_kwargs_from_urls(self.url)  # noqa: SLF001 - what url_to_fs calls too
        wanted = _over(_limits(self.protocol), {**said, **self.options})
        made = kind(**wanted, skip_instance_cache=True, use_listings_cache=False)
        if self.protocol in ("s3", "s3a"):
            made.retries = TRIES
        return made

    @cached_property
    def _folder(self) -> str:
        return str(_class(self.protocol)._strip_protocol(self.url)).rstrip("/")  # noqa: SLF001

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Guard an operation of the library.

        Raises:
            Refused: it failed, or took too long.
        """
        try:
            with time_limit(LONGEST):
                yield
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - each library of a storage raises its own
            raise self._refused(error) from None

    def _refused(self, error: Exception) -> Refused:
        """Describe the exception of a library in one line, without secrets."""
        said = next(filter(None, map(str.strip, str(error).splitlines())), "")
        for secret in sorted(self._secrets(), key=len, reverse=True):
            said = said.replace(secret, MASK)
        name, fix = type(error).__name__, "check the storage, then try again"
        if isinstance(error, PermissionError) or re.search("Credential|Auth", name):
            said, fix = f"access is denied ({said})", "check BACKUP_URL_OPTIONS, then try again"
        elif isinstance(error, FileNotFoundError):
            said, fix = f"it does not exist ({said})", "create it, or correct BACKUP_URL"
        elif "known_hosts" in said:
            said, fix = f"its host key is unknown ({said})", "connect once with ssh, and verify it"
        elif isinstance(error, OSError) or re.search("Connect|Timeout", name):
            said = f"it does not answer ({name}: {said})"
        else:
            said = f"it failed ({name}: {said})"
        return Refused(f"{self.shown}: {said[:300]}", fix)

    def _secrets(self) -> Iterator[str]:
        """Yield every secret of the URL and the options."""
        password = urlsplit(self.url).password or ""
        yield from filter(None, (password, unquote(password), *_texts(self.options)))

    def sizes(self) -> dict[str, int]:
        """Return the size of each file by its name.

        Raises:
            Refused: the storage does not answer, or the folder does not exist.
        """
        with self.guarded():
            try:
                listed = self._files.ls(self._folder, detail=True)
            except FileNotFoundError:
                if not self._without_folders():
                    raise
                return {}  # without folders, an empty one does not exist
        found = ((item["name"].rpartition("/")[2], item) for item in listed)
        return {name: int(item["size"]) for name, item in found if item["type"] != "directory"}

    def _without_folders(self) -> bool:
        bucket = self._folder.partition("/")[0]
        return self.protocol in OBJECTS and bool(self._files.exists(bucket))

    def read(self, name: str, limit: int) -> bytes:
        """Read a small file.

        Raises:
            Refused: it cannot be read.
        """
        with self.guarded():
            return bytes(self._files.cat_file(self._path(name), start=0, end=limit))

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield a file, block by block.

        Raises:
            Refused: it cannot be read to its end.
        """
        with self.guarded():
            file = self._files.open(self._path(name), "rb", block_size=PART)
        try:
            while True:
                with self.guarded():
                    block = file.read(PART)
                if not block:
                    return
                yield block
        finally:
            with suppress(Exception):
                file.close()

    @contextmanager
    def writing(self, name: str, size: int) -> Iterator[StorageWriter]:
        """Open a file for writing; `size` is its approximate size.

        Raises:
            Refused: the storage rejects it; it is deleted if the storage still answers.
        """
        path, part = self._path(name), max(PART, size // MOST_PARTS)
        with self.guarded(), _private():
            file = self._files.open(path, "wb", block_size=part)
        try:
            yield StorageWriter(self, file)
            with self.guarded():
                _flushed(file)
                file.close()
        except BaseException:
            self._abandon(file, path)
            raise

    def _abandon(self, file: Any, path: str) -> None:  # noqa: ANN401 - of a library
        """Discard what was written: after a close it would look complete."""
        with suppress(Exception), time_limit(ANSWER):
            if self.protocol in OBJECTS:
                file.closed = True
                file.discard()
                return
            file.close()
        with suppress(Exception), time_limit(ANSWER):
            self._files.rm_file(path)

    def partial_name(self, name: str) -> str:
        """Return the name of a file until it is complete."""
        return f".{name}.partial_name" if self.protocol in RENAMING else name

    def publish_file(self, name: str) -> None:
        """Give a complete file its name, replacing an earlier one.

        Raises:
            Refused: it cannot be renamed.
        """
        if (part := self.partial_name(name)) != name:
            with self.guarded():
                self._files.mv(self._path(part), self._path(name))

    def write(self, name: str, text: str) -> None:
        """Write a small file, completely or not at all.

        Raises:
            Refused: the storage rejects it.
        """
        with self.writing(self.partial_name(name), len(text)) as file:
            file.write(text.encode())
        self.publish_file(name)

    def remove(self, name: str) -> None:
        """Delete a file.

        Raises:
            Refused: it cannot be deleted.
        """
        with self.guarded(), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))


@dataclass(frozen=True)
class StorageWriter:
    """A file being written to a storage."""

    storage: Storage
    file: Any

    def write(self, data: bytes, /) -> int:
        """Write some bytes.

        Raises:
            Refused: the storage rejects them.
        """
        with self.storage.guarded():
            self.file.write(data)
        return len(data)


def _texts(said: object) -> Iterator[str]:
    """Yield every string in parsed JSON."""
    if isinstance(said, dict):
        for value in said.values():
            yield from _texts(value)
    elif isinstance(said, list):
        for value in said:
            yield from _texts(value)
    elif isinstance(said, str):
        yield said


def _limits(protocol: str) -> dict[str, Any]:
    """Return the options that limit the waits of a library."""
    if protocol in ("s3", "s3a"):
        retries = {"mode": "standard", "total_max_attempts": 1}  # s3fs tries again itself
        return {
            "config_kwargs": {
                "connect_timeout": CONNECT,
                "read_timeout": ANSWER,
                "retries": retries,
            }
        }
    if protocol in ("sftp", "ssh"):
        return dict.fromkeys(("timeout", "banner_timeout", "auth_timeout"), CONNECT)
    return {}


def _over(usual: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge options over the defaults, nested tables too."""
    inner = {
        name: {**usual[name], **value}
        for name, value in given.items()
        if isinstance(value, dict) and isinstance(usual.get(name), dict)
    }
    return {**usual, **given, **inner}


@contextmanager
def _private() -> Iterator[None]:
    """Create local files that only their owner can read."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _flushed(file: Any) -> None:  # noqa: ANN401 - of a library
    """Flush a local file to its disk; remote ones have no descriptor."""
    try:
        number = file.fileno()
    except (AttributeError, OSError, ValueError):
        return
    file.flush()
    os.fsync(number)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after some seconds; only the main thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_number: int, _frame: object) -> None:
        raise TimeoutError(f"no answer for {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
