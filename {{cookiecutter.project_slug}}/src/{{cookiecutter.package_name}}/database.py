"""The connection to the database: SQLite or PostgreSQL, by the URL alone.

A URL from a file may get another user and password while a process runs. What connects to
PostgreSQL then uses them, and nothing uses a connection any more that was made with those before.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from .shared.console import AppError

log = logging.getLogger(__name__)

POOL: dict[str, Any] = {
    "pool_pre_ping": True,
    "pool_size": 10,
    "max_overflow": 30,
    "pool_timeout": 5,
}
"""As many connections as the API has threads (AnyIO's default is 40); broken ones are replaced."""


SQLITE_PRAGMAS = (
    "busy_timeout = 5000",
    "foreign_keys = ON",
    "journal_mode = WAL",
    "synchronous = NORMAL",
)


UNMIGRATED = re.compile(r"no such (table|column)|(relation|column) \S+ does not exist")
"""How SQLite and PostgreSQL say that a table or a column is missing."""

NOT_MIGRATED = "is not migrated: run inv db.migrate"


class DatabaseError(AppError):
    """The database failed; `advice` is safe to show to anyone."""

    def __init__(self, url: URL, error: SQLAlchemyError) -> None:
        text = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
        migrated = not UNMIGRATED.search(text)
        self.advice = "does not respond as expected" if migrated else NOT_MIGRATED
        where = url.render_as_string(hide_password=True)
        reason = f"failed: {text}" if migrated else f"{NOT_MIGRATED} ({text})"
        super().__init__(f"the database {where} {reason}")


def make_engine(url: SecretStr) -> Engine:
    """Return a pooled engine; nothing is connected yet."""
    parsed = make_url(url.get_secret_value())
    if parsed.get_backend_name() == "sqlite":
        return sqlite_engine(parsed)
    parsed = parsed.set(drivername="postgresql+psycopg")
    limits = {"connect_timeout": 3}
    engine = create_engine(parsed, hide_parameters=True, connect_args=limits, **POOL)
    logins = Logins(url)
    event.listen(engine, "do_connect", logins.connect)
    event.listen(engine, "checkout", logins.check)
    return engine


def sqlite_engine(url: URL) -> Engine:
    """Return an engine whose connections share a file without blocking each other."""
    engine = create_engine(url, hide_parameters=True, **POOL)
    event.listen(engine, "connect", prepare_sqlite)
    return engine


class Logins:
    """The login of a pool's connections: user and password of the newest URL.

    The two methods are what SQLAlchemy calls for a new connection, and for each one before it is
    used (docs.sqlalchemy.org: DialectEvents.do_connect, PoolEvents.checkout).
    """

    LOGIN, NEW = "login", "new"
    """What is kept with a connection: what it was made with, and whether nobody used it yet."""

    def __init__(self, url: SecretStr) -> None:
        self.url = url

    def newest(self) -> dict[str, str | None]:
        """Return the user and password to use now."""
        url = make_url(self.url.get_secret_value())
        return {"user": url.username, "password": url.password}

    def connect(
        self,
        dialect: Dialect,
        record: ConnectionPoolEntry,
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> DBAPIConnection:
        """Connect; try once more if the login was just replaced."""
        login = self.newest()
        try:
            made = dialect.connect(*arguments, **{**options, **login})
        except dialect.loaded_dbapi.Error:
            replaced, login = login, self.newest()
            if login == replaced:
                raise
            made = dialect.connect(*arguments, **{**options, **login})
        record.info.update({self.LOGIN: login, self.NEW: True})
        return made

    def check(self, _connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Replace a connection that uses an older login.

        A connection just created is kept: the pool tries only twice.
        """
        if not record.info.pop(self.NEW, False) and record.info.get(self.LOGIN) != self.newest():
            log.debug("replacing a database connection that uses an older login")
            raise DisconnectionError


def prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Set up one new connection; only their owner can read its files.

    WAL lets readers go on while one writes; with it, NORMAL keeps the file sound and saves one
    fsync a commit, at the price of the last commits when the machine itself goes down
    (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
    """
    cursor = connection.cursor()
    cursor.execute("PRAGMA database_list")
    for _, _, file in cursor.fetchall():
        if file:  # a database in memory has none
            restrict(Path(file))
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")


def restrict(file: Path) -> None:
    """Let only its owner read a database; a new one is still empty here.

    SQLite gives what it makes beside a database the mode of that.
    """
    for path in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        with suppress(OSError):  # it is not there, or not this user's
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection; commit at the end, roll back on an error.

    Raises DatabaseError, with the URL's password masked, for whatever the database refuses.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise DatabaseError(engine.url, error) from error
