"""Encryption with age: for recipients, whose secret keys alone open it.

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
"""What an encrypted file begins with."""
ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
"""What one begins with that is text, as git keeps it."""
SECRET = "AGE-SECRET-KEY-"  # noqa: S105 - how each begins  # pragma: allowlist secret
BLOCK = 1024**2
LARGEST_KEY = 64 * 1024
"""Bytes; a longer file is no file of keys."""
MAKE = "make a pair: inv env.keygen --to FILE"
IDENTITY = "AGE_IDENTITY_FILE"
"""The variable that names the file of the secret key, where no option does."""
SSH = re.compile(rb"-----BEGIN (OPENSSH|RSA) PRIVATE KEY-----")
"""What a file with a secret key of SSH begins with."""


class WritableFile(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take them all."""


@dataclass(frozen=True)
class BlockMeasure:
    """How long a file is, and its checksum."""

    bytes: int
    sha256: str


class MeasuredBlocks:
    """Blocks on their way, measured; none is kept."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        """Take where they come from."""
        self.blocks = blocks
        self.count = 0
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Yield them as they are."""
        for block in self.blocks:
            self.count += len(block)
            self.digest.update(block)
            yield block

    @property
    def measure(self) -> BlockMeasure:
        """What went by."""
        return BlockMeasure(self.count, self.digest.hexdigest())


def measure_blocks(blocks: Iterable[bytes]) -> BlockMeasure:
    """Read all blocks, and return how long they are."""
    passing = MeasuredBlocks(blocks)
    for _ in passing:
        pass
    return passing.measure


def file_blocks(path: Path) -> Iterator[bytes]:
    """Yield a file piece by piece."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


class _Source:
    """Blocks as a file to read, for the library."""

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
    """A file to write, for the library: what it takes is measured."""

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
        """Leave that to who opened the file."""


@contextmanager
def _unwrapped(*ends: _Source | _Target) -> Iterator[None]:
    """Raise what went wrong at either end as it was: the library makes its own error of it."""
    try:
        yield
    except Exception:
        for end in ends:
            if end.error:
                raise end.error from None
        raise


def refuse_bad_recipient(recipient: str) -> None:
    """Check a recipient.

    Raises:
        Refused: it is none.
    """
    if recipient:
        parse_recipient(recipient)


def parse_recipient(recipient: str, where: str = "BACKUP_RECIPIENT") -> Any:  # noqa: ANN401 - of the library
    """Return a recipient as the library has it: a key of age, or one of SSH.

    Raises:
        Refused: it is none; `where` it stands is said.
    """
    import pyrage  # noqa: PLC0415 - speed

    if recipient.startswith(SECRET):  # it must not be printed, and not stay there
        raise Refused(f"{where} holds a secret key, not a recipient", _WRONG, code=2)
    kind = pyrage.ssh if recipient.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(recipient)
    except pyrage.RecipientError as error:
        what = f"{where} is no recipient of age: {recipient!r} ({error})"
        raise Refused(what, _WRONG, code=2) from None


_WRONG = f"it begins with age1; {MAKE}"


def encrypt_text(text: str, recipients: list[Any]) -> str:
    """Encrypt a text into another one, which any of the recipients can open."""
    import pyrage  # noqa: PLC0415 - speed

    content: bytes = pyrage.encrypt(text.encode("utf-8"), recipients, armored=True)
    return content.decode("ascii")


def identity_file(given: str) -> Path | None:
    """Return the file of the secret key: the one that was given, or that the environment names."""
    name = given or os.environ.get(IDENTITY, "")
    return Path(name).expanduser() if name else None


def encrypt_blocks(blocks: Iterable[bytes], to: WritableFile, recipient: str = "") -> BlockMeasure:
    """Write blocks, encrypted if there is a recipient; return the measure of what was written."""
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
    """Tell whether a file is one that age made."""
    with path.open("rb") as file:
        return file.read(len(BEGIN)) == BEGIN


def decrypt_blocks(
    blocks: Iterable[bytes], to: WritableFile, identity: Path | None, what: str
) -> None:
    """Write what blocks hold, decrypted where they are encrypted.

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
        said = f"{identity} holds no key that opens {what}"
        fix = "--identity FILE with the secret key of the recipient that it was encrypted for"
        raise Refused(said, fix, code=2) from None
    except ValueError:
        raise Refused(f"{what} is damaged: it cannot be decrypted", "use another copy") from None


class _NoKeyError(Exception):
    """No key opens it."""


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
        said = f"{what} is encrypted: only the secret key opens it"
        raise Refused(said, "--identity FILE, the file that inv env.keygen made", code=2)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_KEY)
    except OSError as error:
        said = f"{path}: {error.strerror}: it should hold the secret key"
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
        said = f"{path} holds no secret key of age"
        raise Refused(said, f"its line begins with {SECRET}1; {MAKE}", code=2)
    return found


def _ssh_key(path: Path, content: bytes) -> Any:  # noqa: ANN401 - of the library
    """Read a secret key of SSH.

    Raises:
        Refused: a password protects it, or it is damaged.
    """
    import pyrage  # noqa: PLC0415 - speed

    try:
        return pyrage.ssh.Identity.from_buffer(content)
    except pyrage.IdentityError as error:
        said = f"{path} is a key of SSH that cannot be used: {error}"
        raise Refused(said, f"a key without a password; {MAKE}", code=2) from None


def make_key(path: Path) -> str:
    """Write a new secret key into a file of its own, as age-keygen does; return its recipient.

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
        said = f"{path} is there already: what it opens would be lost with it"
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
