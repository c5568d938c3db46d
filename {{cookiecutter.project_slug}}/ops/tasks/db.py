"""db.*: the database's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from ops import application, environment, journal, output, project
from ops.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context


def _alembic(profile: str, *arguments: str) -> None:
    here = project.load()
    name = environment.profile_name(profile)
    application.run(here, name, application.module("alembic", *arguments))


@task(help={"profile": options.PROFILE, "to": "a revision, or head"})
def migrate(_c: Context, profile: str = "", to: str = "head") -> None:
    """Bring the database up to the newest migration."""
    with journal.recorded(project.load().root, "db.migrate", to=to):
        _alembic(profile, "upgrade", to)


@task(
    help={
        "profile": options.PROFILE,
        "to": "a revision, or -1 for one step back",
        "yes": options.YES,
    }
)
def downgrade(_c: Context, profile: str = "", to: str = "-1", yes: bool = False) -> None:
    """Take migrations back, which drops what they had added."""
    _alembic(profile, "current", "--verbose")
    output.confirm(
        f"Take the database back to {to}? Columns and tables that go lose their data.", yes=yes
    )
    with journal.recorded(project.load().root, "db.downgrade", to=to):
        _alembic(profile, "downgrade", to)


@task(help={"message": "what it changes, in a few words", "profile": options.PROFILE})
def revision(_c: Context, message: str, profile: str = "") -> None:
    """Write a migration of what the database does not have yet."""
    _alembic(profile, "revision", "--autogenerate", "--message", message)
