"""deploy.verify: check the deployment from where the API runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.core.errors import Refused
from slipway.stack import session
from slipway.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context

NEEDS = ("api",)
NAMESPACE = "deploy"
SERVICE = "api"
"""It has every setting of the application."""


@task(help=options.WHERE | {"json": options.JSON})
def verify(_c: Context, json: bool = False, profile: str = "", engine: str = "") -> None:
    """Check data, models and services of the stack that is up."""
    opened = session.open_session(profile, engine)
    if not any(item.replicas for item in opened.engine.status() if item.service == SERVICE):
        raise Refused(f"{SERVICE} is not running", "inv deploy.up")
    command = ["python", "-m", f"{opened.project.package}.verify", *(["--json"] if json else [])]
    opened.engine.run(command, SERVICE)
