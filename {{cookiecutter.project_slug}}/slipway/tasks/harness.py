"""harness.*: everything that can be tried in containers, on a stack of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from slipway.core import output, project
from slipway.harness import plan as harness_plan

if TYPE_CHECKING:
    from invoke.context import Context

NEEDS = ("api",)


@task(
    help={
        "only": f"one of: {', '.join(harness_plan.PARTS)}",
        "scenario": "only scenarios with this in their name",
        "keep": "leave the stack up, to look at it",
        "profile": "staging or prod (default: staging)",
        "timeout": "seconds each service may take to become healthy",
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
    """Try everything out in containers of its own."""
    plan = harness_plan.plan(
        project.load(),
        profile,
        parts=harness_plan.chosen(only, scenario),
        wanted=scenario,
        limit=float(timeout),
        keep=keep,
    )
    from slipway.harness.run import Trial  # noqa: PLC0415 - `inv --list` should not wait for the engine's SDK

    output.say(f"Harness {plan.name} (profile {profile})")
    said = Trial(plan).run()
    output.say("\n".join(harness_plan.closing(plan, said)))
    if not said["ok"]:
        raise Exit(f"{said['ended']}, {said['failed']} failed", code=1)
