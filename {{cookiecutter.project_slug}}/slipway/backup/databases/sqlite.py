"""SQLite: a file beside the others of data/; a database is called by its file without `.db`."""

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
"""The one file of a copy."""
PATIENCE = 30.0
"""Seconds to wait for whoever writes."""
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps next to a database that is in use."""
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
    what = (
        f"DATABASE_URL is of the kind {scheme!r}: as processes, only a file of SQLite is backed up"
    )
    fix = "unset DATABASE_URL to use data/app.db; or back that server up where it runs"
    raise Refused(what, fix)


class SqliteDatabase:
    """The database in a file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        """Take the file; it need not be there."""
        self.path = path
        self.live = path.stem

    def start(self, limit: float) -> bool:
        """Have nothing to start: it is a file."""
        del self, limit
        return False

    def stop(self) -> None:
        """Have nothing to stop."""

    def dump(self, folder: Path) -> DatabaseContent:
        """Copy the file as it is at one moment, while others go on writing."""
        if not self.path.is_file():
            raise Refused(f"there is no database: {self.path}", "inv deploy.up")
        copy = folder / COPY
        _copied(self.path, copy)
        return _measured(copy)

    def prove(self, folder: Path) -> DatabaseContent:
        """Put a copy into a scratch file and look at it."""
        for name in self.other_databases():
            if name.startswith(SCRATCH):
                self.drop(name)
        name = f"{SCRATCH}{secrets.token_hex(4)}"
        try:
            return self.stage(folder, name)
        finally:
            self.drop(name)

    def stage(self, folder: Path, name: str) -> DatabaseContent:
        """Put a copy beside the live file."""
        path = self._file(checked_name(name))
        if path.exists():
            raise Refused(f"{path} is there already", f"move it away: mv {path} {path}.old")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copied(folder / COPY, path)
            return _measured(path)
        except BaseException:
            self.drop(name)
            raise

    def measure(self) -> DatabaseContent:
        """Look at the live file."""
        if not self.path.is_file():
            raise Refused(f"there is no database: {self.path}", "inv deploy.up")
        return _measured(self.path)

    def swap(self, name: str, old: str) -> None:
        """Rename both; nobody may have them open."""
        new, kept = self._file(checked_name(name)), self._file(checked_name(old))
        if not new.is_file() or kept.exists():
            wrong = f"{kept} is there already" if new.is_file() else f"{new} is not there"
            raise Refused(f"the databases cannot be exchanged: {wrong}")
        _settle(new, new)
        try:
            if self.path.is_file():
                _settle(self.path, kept)
                with suppress(PermissionError):  # another user's; the new one is not
                    self.path.chmod(PRIVATE)
                os.link(self.path, kept)  # the live one is never missing
            new.replace(self.path)
            files.flush_to_disk(self.path.parent)
        except OSError as error:
            if new.is_file():
                kept.unlink(missing_ok=True)
            raise Refused(f"{self.path}: {error.strerror}") from error

    def drop(self, name: str) -> None:
        """Delete a file, and what SQLite keeps next to it."""
        path = self._file(checked_name(name))
        for one in (path, *_beside(path)):
            one.unlink(missing_ok=True)

    def drop_command(self, name: str) -> str:
        """Return what a person types to delete a file."""
        return shlex.join(["rm", str(self._file(name))])

    def exists(self, name: str) -> bool:
        """Say whether there is a file."""
        return self._file(name).is_file()

    def other_databases(self) -> list[str]:
        """Return the other databases of the folder."""
        found = self.path.parent.glob(f"*{self.path.suffix}")
        return sorted(path.stem for path in found if path != self.path)

    def _file(self, name: str) -> Path:
        return self.path.with_name(f"{name}{self.path.suffix}")


@contextmanager
def _opened(path: Path, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    """Open a file; what SQLite says of it is an expected failure.

    Raises:
        Refused: it is damaged, or locked for too long, or the disk is full.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(uri, timeout=PATIENCE, uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        fix = "free some space, then run it again" if "full" in str(error) else ""
        raise Refused(f"{path}: {error}", fix) from error


def _copied(source: Path, target: Path) -> None:
    """Copy a database into a new file, all of one moment, and see it onto the disk.

    A connection that only reads cannot make the files it needs next to a database that nobody has
    open, so this one may write; it does not.
    """
    if not source.is_file():
        raise Refused(f"{source} is not there")
    _refuse_no_space(source, target)
    with _opened(source, "rw") as live, _opened(target, "rwc") as copy:
        target.chmod(PRIVATE)  # still empty; what SQLite makes beside it gets the same mode
        files.give_to_owner(target)
        # In one step: in several, it starts again with each write of another, and may never end.
        live.backup(copy, progress=_impatient(source))
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, and all of it in that
    with target.open("rb") as file:
        os.fsync(file.fileno())
    files.flush_to_disk(target.parent)


def _impatient(source: Path) -> Callable[[int, int, int], None]:
    """Return what gives up where a database stays locked: the copying itself would try for ever."""
    deadline = time.monotonic() + PATIENCE

    def look(status: int, _remaining: int, _total: int) -> None:
        if status != sqlite3.SQLITE_DONE and time.monotonic() > deadline:
            what = f"{source} was locked for {PATIENCE:.0f} s"
            raise Refused(what, "end what writes to it, then run it again")

    return look


def _refuse_no_space(source: Path, target: Path) -> None:
    needed, free = source.stat().st_size, shutil.disk_usage(target.parent).free
    if needed > free:
        what = f"{target.parent} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} are needed"
        raise Refused(what, "free some space, then run it again")


def _settle(path: Path, kept: Path) -> None:
    """Bring what is written next to a file into it: there, SQLite would read it into another one.

    What is too damaged for that takes it along, to beside `kept`.

    Raises:
        Refused: somebody has it open.
    """
    busy = 0
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        raise Refused(f"{path}: {error}", "end what has it open, then run it again") from error
    except sqlite3.DatabaseError:
        for beside in filter(Path.is_file, _beside(path)):
            beside.replace(kept.with_name(beside.name.replace(path.name, kept.name, 1)))
    if busy:
        raise Refused(f"{path} is in use", "end what has it open, then run it again")
    for beside in _beside(path):
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in BESIDE]


def _measured(path: Path) -> DatabaseContent:
    """Look at every row of a file, in one transaction.

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
    """Read text of which SQLite never checked that it is any."""
    return content.decode("utf-8", "surrogateescape")


def _tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that hold rows: what an extension shows as one keeps them in others."""
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
    """Return the numbers that AUTOINCREMENT has given."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'"
    if not connection.execute(query).fetchone()[0]:
        return {}
    return {
        name: int(number) for name, number in connection.execute("SELECT * FROM sqlite_sequence")
    }
