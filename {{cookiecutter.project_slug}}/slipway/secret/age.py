"""Encryption with age, for recipients: only their secret keys decrypt it.

The key that encrypts is no secret. The one that decrypts does not belong on the machine whose data
it opens. What is encrypted is read and written piece by piece: it may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUFFIX = ".age"
BEGIN = b"age-encryption.org/"
"""How an encrypted file begins."""
ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
"""How an encrypted text file begins, as git keeps it."""
SECRET = "AGE-SECRET-KEY-"  # noqa: S105 - how each key begins  # pragma: allowlist secret
BLOCK = 1024**2
LARGEST_KEY = 64 * 1024
"""Bytes; a larger file is not a key file."""
MAKE = "make a pair: inv env.keygen --to FILE"
IDENTITY = "AGE_IDENTITY_FILE"
"""The variable that names the secret key's file, unless an option does."""
SSH = re.compile(rb"-----BEGIN (OPENSSH|RSA) PRIVATE KEY-----")
"""How a file with an SSH secret key begins."""


class WritableFile(Protocol):
    """A file or stream that takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Write all of the data."""


@dataclass(frozen=True)
class BlockMeasure:
    """The length and the checksum of blocks."""

    bytes: int
    sha256: str


class MeasuredBlocks:
    """Blocks that are measured as they pass; none is kept."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        """Take where they come from."""
        self.blocks = blocks
        self.count = 0
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the blocks unchanged."""
        for block in self.blocks:
            self.count += len(block)
            self.digest.update(block)
            yield block

    @property
    def measure(self) -> BlockMeasure:
        """The measure of what has passed."""
        return BlockMeasure(self.count, self.digest.hexdigest())


def measure_blocks(blocks: Iterable[bytes]) -> BlockMeasure:
    """Read all blocks, and return their measure."""
    passing = MeasuredBlocks(blocks)
    for _ in passing:
        pass
    return passing.measure


def file_blocks(path: Path) -> Iterator[bytes]:
    """Yield the blocks of a file."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


class _Source:
    """Blocks as a file that the library reads."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = iter(blocks)
        self.rest = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self.rest:
                block = next(self.blocks, None)
                if block is None:
                    return b""
                self.rest = memoryview(block)
        except BaseException as error:
            self.error = error
            raise
        part, self.rest = self.rest[:size], self.rest[size:]
        return bytes(part)


class _Target:
    """A file that the library writes; what it writes is measured."""

    def __init__(self, file: WritableFile) -> None:
        self.file = file
        self.count = 0
        self.digest = hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            self.file.write(data)
        except BaseException as error:
            self.error = error
            raise
        self.count += len(data)
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Leave that to whoever opened the file."""


@contextmanager
def _unwrapped(*ends: _Source | _Target) -> Iterator[None]:
    """Raise the error of either end itself, not what the library makes of it."""
    try:
        yield
    except Exception:
        for end in ends:
            if end.error:
                raise end.error from None
        raise


def parse_recipient(recipient: str, where: str = "the recipient") -> Any:  # noqa: ANN401 - of the library
    """Return the library's object for a recipient: an age key or an SSH key.

    Raises:
        Refused: it is none; `where` it stands is said.
    """
    import pyrage  # noqa: PLC0415 - speed

    if recipient.startswith(SECRET):  # it must be neither printed nor left there
        raise Refused(f"{where} holds a secret key, not a recipient", _WRONG, code=2)
    kind = pyrage.ssh if recipient.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(recipient)
    except pyrage.RecipientError as error:
        what = f"{where} is not an age recipient: {recipient!r} ({error})"
        raise Refused(what, _WRONG, code=2) from None


_WRONG = f"one begins with age1; {MAKE}"


def encrypt_text(text: str, recipients: list[Any]) -> str:
    """Encrypt a text as a text that any of the recipients can decrypt."""
    import pyrage  # noqa: PLC0415 - speed

    content: bytes = pyrage.encrypt(text.encode("utf-8"), recipients, armored=True)
    return content.decode("ascii")


def identity_file(given: str) -> Path | None:
    """Return the secret key's file: the given one, or the one that the environment names."""
    name = given or os.environ.get(IDENTITY, "")
    return Path(name).expanduser() if name else None


def encrypt_blocks(blocks: Iterable[bytes], to: WritableFile, recipient: str = "") -> BlockMeasure:
    """Write blocks, encrypted if there is a recipient; return the measure of the result."""
    source, target = _Source(blocks), _Target(to)
    if recipient:
        import pyrage  # noqa: PLC0415 - speed

        with _unwrapped(source, target):
            pyrage.encrypt_io(source, target, [parse_recipient(recipient)])
    else:
        for block in blocks:
            target.write(block)
    return BlockMeasure(target.count, target.digest.hexdigest())


def is_encrypted(path: Path) -> bool:
    """Tell whether a file was encrypted by age."""
    with path.open("rb") as file:
        return file.read(len(BEGIN)) == BEGIN


def decrypt_blocks(
    blocks: Iterable[bytes], to: WritableFile, identity: Path | None, what: str
) -> None:
    """Write blocks, decrypted if they are encrypted.

    Raises:
        Refused: the secret key is missing or another one, or they are damaged.
    """
    rest = iter(blocks)
    first = next(rest, b"")
    if not first.startswith((BEGIN, ARMOR)):
        for block in chain([first], rest):
            to.write(block)
        return
    keys = _keys(identity, what)
    try:
        _decrypted(chain([first], rest), to, keys)
    except _NoKeyError:
        said = f"{identity} holds no key that decrypts {what}"
        fix = "--identity FILE, the secret key of a recipient that it was encrypted for"
        raise Refused(said, fix, code=2) from None
    except ValueError:
        raise Refused(f"{what} is damaged: it cannot be decrypted", "use another copy") from None


class _NoKeyError(Exception):
    """None of the keys decrypts it."""


def _decrypted(blocks: Iterable[bytes], to: WritableFile, keys: list[Any]) -> None:
    """Decrypt blocks.

    Raises:
        ValueError: they are damaged.
    """
    import pyrage  # noqa: PLC0415 - speed

    source, target = _Source(blocks), _Target(to)
    try:
        with _unwrapped(source, target):
            pyrage.decrypt_io(source, target, keys)
    except pyrage.DecryptError as error:
        raise (_NoKeyError if "matching" in str(error) else ValueError) from None
    except OSError as error:
        if error.errno is not None:  # of a disk, not of the library
            raise
        raise ValueError from None


def _keys(path: Path | None, what: str) -> list[Any]:
    """Read the secret keys of a file.

    Raises:
        Refused: there is no such file, or it holds none.
    """
    import pyrage  # noqa: PLC0415 - speed

    if not path:
        said = f"{what} is encrypted, and only the secret key decrypts it"
        raise Refused(said, "--identity FILE, as written by inv env.keygen", code=2)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_KEY)
    except OSError as error:
        said = f"{path}: {error.strerror}; it should hold the secret key"
        raise Refused(said, "--identity FILE", code=2) from None
    if SSH.match(content):
        return [_ssh_key(path, content)]
    lines = content.decode(errors="replace").splitlines()
    try:
        found = [
            pyrage.x25519.Identity.from_str(line.strip())
            for line in lines
            if line.startswith(SECRET)
        ]
    except pyrage.IdentityError:
        found = []
    if not found:
        said = f"{path} holds no age secret key"
        raise Refused(said, f"the key's line begins with {SECRET}1; {MAKE}", code=2)
    return found


def _ssh_key(path: Path, content: bytes) -> Any:  # noqa: ANN401 - of the library
    """Read an SSH secret key.

    Raises:
        Refused: a password protects it, or it is damaged.
    """
    import pyrage  # noqa: PLC0415 - speed

    try:
        return pyrage.ssh.Identity.from_buffer(content)
    except pyrage.IdentityError as error:
        said = f"{path} is an SSH key that cannot be used: {error}"
        raise Refused(said, f"use a key without a passphrase; or {MAKE}", code=2) from None


def make_key(path: Path) -> str:
    """Write a new secret key to a new file, as age-keygen does; return its recipient.

    Raises:
        Refused: the file is there already, or cannot be made.
    """
    import pyrage  # noqa: PLC0415 - speed

    key = pyrage.x25519.Identity.generate()
    recipient = str(key.to_public())
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        said = f"{path} exists; without its key, what it decrypts would be lost"
        raise Refused(said, "choose another name", code=2) from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "choose another place", code=2) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"# created: {at}\n# public key: {recipient}\n{key}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()
        raise Refused(f"{path}: {error.strerror}", "choose another place", code=2) from None
    return recipient
