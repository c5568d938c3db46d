"""data.*: the observations that models learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from ops import application, environment, journal, project
from ops.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context


@task(help={"file": "a CSV file (default: the configured one)", "profile": options.PROFILE})
def collect(_c: Context, file: str = "", profile: str = "") -> None:
    """Load observations into the database; twice changes nothing."""
    here = project.load()
    name = environment.profile_name(profile)
    arguments = ("--file", file) if file else ()
    with journal.recorded(here.root, "data.collect", file=file or None):
        application.run(here, name, application.module(f"{here.package}.collect", *arguments))
