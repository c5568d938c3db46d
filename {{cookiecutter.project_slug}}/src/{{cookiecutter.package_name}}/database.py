"""The connection to the database: SQLite or PostgreSQL, by the URL alone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .console import AppError

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
    """The database did not do what was asked; `advice` is what anybody may be told of it."""

    def __init__(self, url: URL, error: SQLAlchemyError) -> None:
        """Say what failed, with the URL's password masked."""
        text = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
        migrated = not UNMIGRATED.search(text)
        self.advice = "does not answer as it should" if migrated else NOT_MIGRATED
        where = url.render_as_string(hide_password=True)
        reason = f"failed: {text}" if migrated else f"{NOT_MIGRATED} ({text})"
        super().__init__(f"the database {where} {reason}")


def make_engine(url: SecretStr) -> Engine:
    """Return a pooled engine; nothing is connected yet."""
    parsed = make_url(url.get_secret_value())
    if parsed.get_backend_name() == "sqlite":
        return sqlite_engine(parsed)
    parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(parsed, hide_parameters=True, connect_args={"connect_timeout": 3}, **POOL)


def sqlite_engine(url: URL) -> Engine:
    """Return an engine whose connections share a file without waiting for one another."""
    engine = create_engine(url, hide_parameters=True, **POOL)
    event.listen(engine, "connect", prepare_sqlite)
    return engine


def prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Set up one new connection.

    WAL lets readers go on while one writes; with it, NORMAL keeps the file sound and saves one
    fsync a commit, at the price of the last commits when the machine itself goes down
    (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
    """
    for pragma in SQLITE_PRAGMAS:
        connection.cursor().execute(f"PRAGMA {pragma}")


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection; commit at the end, roll back on an error.

    Raises DatabaseError, with the URL's password masked, for whatever the database refuses.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise DatabaseError(engine.url, error) from error
