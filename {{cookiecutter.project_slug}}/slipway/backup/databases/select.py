"""Which database a stack has: PostgreSQL in containers, SQLite beside processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.backup.databases.postgres import PostgresDatabase
from slipway.backup.databases.runners import SERVICE, ContainerScriptRunner
from slipway.backup.databases.sqlite import SqliteDatabase, sqlite_file

if TYPE_CHECKING:
    from slipway.backup.databases.base import StackDatabase
    from slipway.stack.session import Session


def open_database(session: Session) -> StackDatabase:
    """Return the database of a stack.

    Raises:
        Refused: the stack has none that can be backed up from here.
    """
    project, engine = session.project, session.engine
    if server := engine.service_container(SERVICE):
        env_file = project.env_file(session.profile)
        return PostgresDatabase(ContainerScriptRunner(server), env_file.name)
    return SqliteDatabase(sqlite_file(engine.environment.get("DATABASE_URL", ""), project.root))
