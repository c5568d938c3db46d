"""doctor: is this machine ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from slipway.core import output, project
from slipway.stack import session
from slipway.tasks import options
from slipway.tasks.findings import check_machine

if TYPE_CHECKING:
    from invoke.context import Context


@task(help={"profile": options.PROFILE, "json": options.JSON})
def doctor(_c: Context, profile: str = "", json: bool = False) -> None:
    """Check whether this machine is ready, and say what to do."""
    here = project.load()
    findings = check_machine(here, session.profile_name(here, profile))
    output.show(findings, as_json=json, empty="")
    failed = sum(finding.state == "fail" for finding in findings)
    if failed:
        raise Exit("" if json else options.problems(failed), code=1)
