"""The container test harness: what it runs under which names, and what it says came of it.

The tests run in an image of their own, the verification in a container of the API, which has every
setting, and the scenarios from outside, through the proxy, as a client would.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slipway.config.schema import COMPOSE
from slipway.core import output
from slipway.core.errors import Refused
from slipway.harness import report
from slipway.harness.report import FAILED, PASSED, SKIPPED, Case
from slipway.stack import ephemeral
from slipway.stack.build import images
from slipway.stack.ephemeral import EphemeralStack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slipway.core.project import Project

PARTS = ("tests", "verify", "scenarios")
SERVERS = ("staging", "prod")
"""The profiles with replicas, limits and images as they are deployed."""
ELSEWHERE = ("tests/engine", "tests/test_first_run.py", "tests/test_*local.py")
"""Tests that bring up stacks of their own, in containers or as processes."""
VARIABLES = {"API_WORKERS": "2"}
"""What the scenarios count on."""
TESTS_XML = "/tmp/tests.xml"  # noqa: S108 - in a container of its own


@dataclass(frozen=True)
class Plan:
    """What is run, under which names, and where its reports go."""

    project: Project
    profile: str
    stamp: str
    token: str
    parts: tuple[str, ...] = PARTS
    wanted: str = ""
    """Only scenarios with this in their name."""
    limit: float = 120.0
    """Seconds in which a service has to become healthy."""
    keep: bool = False

    @property
    def scratch(self) -> EphemeralStack:
        """The stack that it is tried on."""
        return EphemeralStack(
            self.project, "harness", self.profile, COMPOSE, self.stamp, self.token
        )

    @property
    def name(self) -> str:
        """What the stack's containers, volumes and network go by, and its images' version."""
        return self.scratch.name

    @property
    def image(self) -> str:
        """The image that the tests run in."""
        return f"{images.LOCAL_REGISTRY}/{self.project.slug}-test:{self.name}"

    @property
    def folder(self) -> Path:
        """Where the copy of the repository is that the stack runs from."""
        return self.scratch.folder

    @property
    def reports(self) -> Path:
        """The folder of everything that is kept."""
        return self.project.root / "reports" / f"harness-{self.stamp}"

    @property
    def log(self) -> Path:
        """The one file that a person reads."""
        return self.project.root / "reports" / f"container-test-harness-{self.stamp}.log"

    @property
    def tester(self) -> str:
        """The container of the tests."""
        return f"{self.name}-tests"


def chosen(only: str, scenario: str) -> tuple[str, ...]:
    """Return the parts that were asked for: one, or all; naming a scenario asks for its part.

    Raises:
        Refused: there is no such part.
    """
    if only not in ("", *PARTS):
        raise Refused(f"there is no part {only!r}", f"choose one of: {', '.join(PARTS)}", code=2)
    named = only or ("scenarios" if scenario else "")
    return (named,) if named else PARTS


def plan(project: Project, profile: str, **options: Any) -> Plan:  # noqa: ANN401 - Plan's own
    """Return a plan with a time and names that no other has.

    Raises:
        Refused: the profile is not one of a server.
    """
    if profile not in SERVERS:
        what = f"profile {profile}: the harness runs what servers run"
        raise Refused(what, f"choose one of: {', '.join(SERVERS)}", code=2)
    own = ephemeral.plan_stack(project, "harness", profile, COMPOSE)
    return Plan(project, profile, own.stamp, own.token, **options)


def build_command(plan: Plan, bases: Mapping[str, str]) -> list[str]:
    """Build the command that makes the image of the tests, on the base images that are locked."""
    contexts = [f"--build-context={name}={place}" for name, place in bases.items()]
    return ["docker", "build", "--target", "test", "--tag", plan.image, *contexts, "."]


def tests_command(plan: Plan) -> list[str]:
    """Build the command that runs the tests in a container; what needs more skips itself there."""
    ignored = [f"--ignore-glob={path}" for path in ELSEWHERE]
    tests = ["python", "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={TESTS_XML}"]
    tests += ["--numprocesses=auto", "--dist=loadfile"]
    run = ["docker", "run", "--init", "--name", plan.tester]
    return [*run, plan.image, *tests, *ignored, "src", "tests"]


def fetch_command(plan: Plan) -> list[str]:
    """Build the command that brings the report of the tests out of their container."""
    return ["docker", "cp", f"{plan.tester}:{TESTS_XML}", str(plan.reports / "tests.xml")]


def verify_command(plan: Plan) -> list[str]:
    """Build the command that verifies, for a container of the stack."""
    return ["python", "-m", f"{plan.project.package}.verify", "--json"]


def verified(text: str) -> list[Case]:
    """Read what the verification printed."""
    return [
        Case("verify", one["name"], state_of(one["ok"]), one["seconds"], one["detail"])
        for one in json.loads(text)["checks"]
    ]


def state_of(ok: bool) -> str:
    """Return what a case is whose outcome is yes or no."""
    return PASSED if ok else FAILED


def summary(plan: Plan, found: Sequence[Case], seconds: float, ended: str) -> dict[str, Any]:
    """Return what came of it, for scripts; `ended` says what kept it from running to its end."""
    return {
        "ok": not ended and bool(found) and not report.count(found, FAILED),
        "ended": ended or "complete",
        "project": plan.project.slug,
        "profile": plan.profile,
        "started": plan.stamp,
        "seconds": round(seconds, 1),
        "failed": report.count(found, FAILED),
        "parts": report.totals(found),
        "cases": [asdict(one) for one in found],
    }


def readable(said: Mapping[str, Any], found: Sequence[Case], logs: Mapping[str, str]) -> str:
    """Return the one log: what came of it, why, and then everything that was printed."""
    lines = [
        f"Container test harness {said['started']}: {said['project']}, profile {said['profile']}",
        f"{'passed' if said['ok'] else 'FAILED'} after {said['seconds']} s ({said['ended']})",
        "",
        output.table(said["parts"]),
    ]
    for state in (FAILED, SKIPPED, PASSED):
        some = [one for one in found if one.state == state]
        lines += ["", f"== {state}: {len(some)}"] if some else []
        lines += [
            f"{one.part}: {one.name} ({one.seconds:.1f} s) {one.detail}".rstrip() for one in some
        ]
    for name, text in logs.items():
        lines += ["", f"== {name}", text.rstrip()]
    return "\n".join(lines) + "\n"


def closing(plan: Plan, said: Mapping[str, Any]) -> list[str]:
    """Return the last lines that are shown: the totals, what failed, and where more is."""
    root = plan.project.root
    found = [Case(**one) for one in said["cases"]]
    lines = ["", output.table(said["parts"]), *(f"  {line}" for line in report.failures(found))]
    lines += [
        "",
        f"Read {plan.log.relative_to(root)}",
        f"All of it: {plan.reports.relative_to(root)}/",
    ]
    if plan.keep:
        down = f"docker compose --project-name {plan.name} down --volumes"
        lines += [
            f"It is still up, with its files in {plan.folder.relative_to(root)}/",
            f"  {down}",
        ]
    return lines
