"""data.*: the observations that models are trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.core.transaction import change
from slipway.stack import session
from slipway.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context

NEEDS = ("api",)


@task(help=options.WHERE | {"file": "a CSV file (default: the configured one)"})
def collect(_c: Context, file: str = "", profile: str = "", engine: str = "") -> None:
    """Load observations; loading them twice changes nothing."""
    opened = session.open_session(profile, engine)
    arguments = ("--file", file) if file else ()
    with change(opened.project.root, "data.collect", file=file or None):
        opened.module(f"{opened.project.package}.collect", *arguments)
