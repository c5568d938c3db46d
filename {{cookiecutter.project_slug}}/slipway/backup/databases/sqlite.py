"""SQLite: a file in data/; a database is named after its file, without `.db`."""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import shutil
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from slipway.backup.databases.base import SCRATCH, DatabaseContent, TableDigest, checked_name
from slipway.core import files
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COPY = "database.sqlite"
"""The only file of a copy."""
PATIENCE = 30.0
"""Seconds to wait for a lock."""
BESIDE = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps next to a database in use."""
PRIVATE = 0o600
_MASK = 2**64 - 1
_SCHEMES = ("sqlite:///", "sqlite+pysqlite:///")


def sqlite_file(url: str, root: Path) -> Path:
    """Return the file that a DATABASE_URL names.

    Raises:
        Refused: it names none.
    """
    for scheme in _SCHEMES:
        path = unquote(url.removeprefix(scheme).partition("?")[0])
        if url.startswith(scheme) and path and path != ":memory:":
            return root / path
    scheme = url.partition(":")[0]
    what = f"DATABASE_URL is a {scheme!r} URL: as processes, only an SQLite file can be backed up"
    fix = "unset DATABASE_URL to use data/app.db, or back that server up with its own tools"
    raise Refused(what, fix)


class SqliteDatabase:
    """The database in a file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        """Take the file, which need not exist."""
        self.path = path
        self.live = path.stem

    def start(self, limit: float) -> bool:
        """Do nothing: a file needs no server."""
        del self, limit
        return False

    def stop(self) -> None:
        """Do nothing: a file needs no server."""

    def dump(self, folder: Path) -> DatabaseContent:
        """Copy a consistent state of the file, while others may write to it."""
        if not self.path.is_file():
            raise Refused(f"there is no database: {self.path}", "inv deploy.up")
        copy = folder / COPY
        _copied(self.path, copy)
        return _measured(copy)

    def prove(self, folder: Path) -> DatabaseContent:
        """Restore a copy into a scratch file and measure it."""
        for name in self.other_databases():
            if name.startswith(SCRATCH):
                self.drop(name)
        name = f"{SCRATCH}{secrets.token_hex(4)}"
        try:
            return self.stage(folder, name)
        finally:
            self.drop(name)

    def stage(self, folder: Path, name: str) -> DatabaseContent:
        """Restore a copy next to the live file."""
        path = self._file(checked_name(name))
        if path.exists():
            raise Refused(f"{path} already exists", f"move it away: mv {path} {path}.old")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copied(folder / COPY, path)
            return _measured(path)
        except BaseException:
            self.drop(name)
            raise

    def measure(self) -> DatabaseContent:
        """Measure the live file."""
        if not self.path.is_file():
            raise Refused(f"there is no database: {self.path}", "inv deploy.up")
        return _measured(self.path)

    def swap(self, name: str, old: str) -> None:
        """Rename both files; no process may have them open."""
        new, kept = self._file(checked_name(name)), self._file(checked_name(old))
        if not new.is_file() or kept.exists():
            wrong = f"{kept} already exists" if new.is_file() else f"{new} does not exist"
            raise Refused(f"the databases cannot be swapped: {wrong}")
        _settle(new, new)
        try:
            if self.path.is_file():
                _settle(self.path, kept)
                with suppress(PermissionError):  # another user's; the new one is not
                    self.path.chmod(PRIVATE)
                os.link(self.path, kept)  # so that the live file is never missing
            new.replace(self.path)
            files.flush_to_disk(self.path.parent)
        except OSError as error:
            if new.is_file():
                kept.unlink(missing_ok=True)
            raise Refused(f"{self.path}: {error.strerror}") from error

    def drop(self, name: str) -> None:
        """Delete a file, and those that SQLite keeps next to it."""
        path = self._file(checked_name(name))
        for one in (path, *_beside(path)):
            one.unlink(missing_ok=True)

    def drop_command(self, name: str) -> str:
        """Return the command to type to delete a file."""
        return shlex.join(["rm", str(self._file(name))])

    def exists(self, name: str) -> bool:
        """Return whether there is a database of that name."""
        return self._file(name).is_file()

    def other_databases(self) -> list[str]:
        """Return the other databases of the folder."""
        found = self.path.parent.glob(f"*{self.path.suffix}")
        return sorted(path.stem for path in found if path != self.path)

    def _file(self, name: str) -> Path:
        return self.path.with_name(f"{name}{self.path.suffix}")


@contextmanager
def _opened(path: Path, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    """Open a file; errors of SQLite are expected failures.

    Raises:
        Refused: it is damaged or locked for too long, or the disk is full.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(uri, timeout=PATIENCE, uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        fix = "free some space, then try again" if "full" in str(error) else ""
        raise Refused(f"{path}: {error}", fix) from error


def _copied(source: Path, target: Path) -> None:
    """Copy a consistent state of a database into a new file, and flush it to disk.

    The connection may write, but does not: a read-only one cannot create the files it needs next to
    a database that no process has open.
    """
    if not source.is_file():
        raise Refused(f"{source} does not exist")
    _refuse_no_space(source, target)
    with _opened(source, "rw") as live, _opened(target, "rwc") as copy:
        target.chmod(PRIVATE)  # still empty; what SQLite creates next to it gets the same mode
        files.give_to_owner(target)
        # In one step: in several, each write by another process starts it again, perhaps for ever.
        live.backup(copy, progress=_impatient(source))
        copy.execute("PRAGMA journal_mode = DELETE")  # everything in a single file
    with target.open("rb") as file:
        os.fsync(file.fileno())
    files.flush_to_disk(target.parent)


def _impatient(source: Path) -> Callable[[int, int, int], None]:
    """Return a callback that gives up on a locked database; otherwise copying retries for ever."""
    deadline = time.monotonic() + PATIENCE

    def look(status: int, _remaining: int, _total: int) -> None:
        if status != sqlite3.SQLITE_DONE and time.monotonic() > deadline:
            what = f"{source} was locked for {PATIENCE:.0f} s"
            raise Refused(what, "end the process that writes to it, then try again")

    return look


def _refuse_no_space(source: Path, target: Path) -> None:
    needed, free = source.stat().st_size, shutil.disk_usage(target.parent).free
    if needed > free:
        what = f"{target.parent} has {free / 1e6:.0f} MB free, but {needed / 1e6:.0f} are needed"
        raise Refused(what, "free some space, then try again")


def _settle(path: Path, kept: Path) -> None:
    """Merge the journals next to a file into it, or SQLite would apply them to its replacement.

    If the file is too damaged for that, its journals move next to `kept`.

    Raises:
        Refused: a process has it open.
    """
    busy = 0
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        raise Refused(
            f"{path}: {error}", "end the process that has it open, then try again"
        ) from error
    except sqlite3.DatabaseError:
        for beside in filter(Path.is_file, _beside(path)):
            beside.replace(kept.with_name(beside.name.replace(path.name, kept.name, 1)))
    if busy:
        raise Refused(f"{path} is in use", "end the process that has it open, then try again")
    for beside in _beside(path):
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in BESIDE]


def _measured(path: Path) -> DatabaseContent:
    """Read every row of a file, in one transaction.

    Raises:
        Refused: it is damaged.
    """
    with _opened(path, "rw") as connection:
        connection.text_factory = _text
        connection.execute("BEGIN")
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise Refused(f"{path} is damaged: {verdict}")
        tables = {name: _table(connection, name) for name in _tables(connection)}
        return DatabaseContent(
            f"sqlite {sqlite3.sqlite_version}",
            _migration(connection, tables),
            _schema(connection),
            tables,
            _sequences(connection),
        )


def _text(content: bytes) -> str:
    """Decode text, which SQLite does not validate."""
    return content.decode("utf-8", "surrogateescape")


def _tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables with rows of their own: virtual tables keep theirs in other tables."""
    query = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [name for (name,) in connection.execute(query)]


def _table(connection: sqlite3.Connection, name: str) -> TableDigest:
    """Count and digest the rows of a table."""
    count = total = 0
    quoted = name.replace('"', '""')
    for row in connection.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608 - quoted, and its own
        digest = hashlib.blake2b(repr(row).encode("utf-8", "surrogateescape"), digest_size=8)
        total += int.from_bytes(digest.digest(), "big")
        count += 1
    return TableDigest(count, str(total & _MASK))


def _migration(connection: sqlite3.Connection, tables: dict[str, TableDigest]) -> str:
    if "alembic_version" not in tables:
        return ""
    query = "SELECT version_num FROM alembic_version ORDER BY version_num"
    return ",".join(number for (number,) in connection.execute(query))


def _schema(connection: sqlite3.Connection) -> str:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
    digest = hashlib.sha256()
    for row in connection.execute(query):
        digest.update(repr(row).encode("utf-8", "surrogateescape"))
    for pragma in ("user_version", "application_id"):
        digest.update(repr(connection.execute(f"PRAGMA {pragma}").fetchone()).encode())
    return digest.hexdigest()


def _sequences(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the last numbers that AUTOINCREMENT has assigned."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'"
    if not connection.execute(query).fetchone()[0]:
        return {}
    return {
        name: int(number) for name, number in connection.execute("SELECT * FROM sqlite_sequence")
    }
