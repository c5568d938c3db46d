"""How alembic runs the migrations: on a connection it was given, or on the settings' database."""

import sys
from typing import Literal

from alembic import context
from alembic.operations.ops import MigrationScript
from sqlalchemy import Connection

from .database import make_engine, transaction
from .settings import Settings, load
from .shared.console import AppError, progress
from .tables import Base, UtcDateTime


def run() -> None:
    """Migrate; an expected failure is a message and an exit code."""
    given: Connection | None = context.config.attributes.get("connection")
    try:
        migrate(given) if given else migrate_configured()
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def migrate_configured() -> None:
    """Migrate the database of the settings, all in one transaction."""
    engine = make_engine(load(Settings).database_url)
    with transaction(engine) as connection:
        migrate(connection)
    engine.dispose()


def migrate(connection: Connection) -> None:
    """Run what alembic was asked for in the connection's transaction.

    Batches let SQLite change a table, which it does by making a new one.
    """
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=render,
        process_revision_directives=drop_empty,
    )
    context.run_migrations()


def drop_empty(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
    """Let `alembic revision --autogenerate` write no migration where there is nothing to migrate.

    `alembic check`, which compares and writes nothing, needs the empty one.
    """
    writes = getattr(context.config.cmd_opts, "autogenerate", False)
    operations = directives[0].upgrade_ops
    if writes and (operations is None or operations.is_empty()):
        directives.clear()
        progress("the database matches the tables: no migration was written")


def render(kind: str, item: object, _autogenerate: object) -> str | Literal[False]:
    """Write our own type as the library's in new revisions, which then need no import of ours."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False
