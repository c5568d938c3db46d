"""harness.*: tests, verification and scenarios in containers, in a stack of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from slipway.core import output, project
from slipway.harness import plan as harness_plan
from slipway.harness import report

if TYPE_CHECKING:
    from invoke.context import Context

NEEDS = ("api",)


@task(
    help={
        "only": f"some of: {','.join(harness_plan.PARTS)}",
        "scenario": "run only the scenarios with this in their name",
        "keep": "leave the stack up, for you to look at",
        "profile": "staging or prod (default: staging)",
        "timeout": "seconds that each service may take to become healthy",
    }
)
def run(
    _c: Context,
    only: str = "",
    scenario: str = "",
    keep: bool = False,
    profile: str = "staging",
    timeout: int = 120,
) -> None:
    """Test the stack in containers of its own."""
    plan = harness_plan.new_plan(
        project.load(),
        profile,
        parts=harness_plan.chosen_parts(only, scenario),
        scenario=scenario,
        limit=float(timeout),
        keep=keep,
    )
    from slipway.harness.run import HarnessRun  # noqa: PLC0415 - speed: `inv --list` does not wait for it

    output.say(f"Harness {plan.name} (profile {profile})")
    outcome = HarnessRun(plan).run()
    output.say("\n".join(report.closing(plan, outcome)))
    if not outcome["ok"]:
        raise Exit(f"{outcome['ended']}, {outcome['failed']} failed", code=1)
