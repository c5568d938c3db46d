"""db.*: the database's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.core import output
from slipway.core.errors import Refused
from slipway.core.transaction import change
from slipway.stack import session
from slipway.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context

NEEDS = ("api",)


@task(help=options.WHERE | {"to": "a revision, or head"})
def migrate(_c: Context, profile: str = "", engine: str = "", to: str = "head") -> None:
    """Migrate the database, by default to the newest revision."""
    opened = session.open_session(profile, engine)
    with change(opened.project.root, "db.migrate", to=to):
        opened.module("alembic", "upgrade", to)


@task(
    help=options.WHERE | {"to": "a revision, or -1 for one step back", "yes": options.YES},
)
def downgrade(
    _c: Context, profile: str = "", engine: str = "", to: str = "-1", yes: bool = False
) -> None:
    """Take migrations back, dropping what they added."""
    opened = session.open_session(profile, engine)
    if any(item.replicas for item in opened.engine.status() if item.url):
        raise Refused(
            "the stack is running and needs its tables", "inv deploy.down, then try again"
        )
    opened.module("alembic", "current", "--verbose")
    question = f"Take the database back to {to}? The data in dropped columns and tables is lost."
    output.confirm(question, yes=yes)
    with change(opened.project.root, "db.downgrade", to=to):
        opened.module("alembic", "downgrade", to)


@task(help=options.WHERE | {"message": "what it changes, in a few words"})
def revision(_c: Context, message: str, profile: str = "", engine: str = "") -> None:
    """Write a migration for what the database does not have yet."""
    opened = session.open_session(profile, engine)
    opened.module("alembic", "revision", "--autogenerate", "--message", message)
