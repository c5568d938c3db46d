"""The container test harness: what it runs, and under which names.

The tests run in an image of their own, the verification in a container of the API, which has every
setting, and the scenarios from outside, through the proxy, as a client would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.config.schema import COMPOSE
from slipway.core.errors import Refused
from slipway.core.files import parse_json
from slipway.harness.report import FAILED, PASSED, HarnessCase
from slipway.stack import ephemeral
from slipway.stack.build import images
from slipway.stack.ephemeral import EphemeralStack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slipway.core.project import Project

PARTS = ("tests", "verify", "scenarios")
SERVERS = ("staging", "prod")
"""The profiles with replicas, limits and images as they are deployed."""
ELSEWHERE = ("tests/scenarios", "tests/test_first_run.py")
"""What needs a stack."""
VARIABLES = {"API_WORKERS": "2"}
"""What the scenarios rely on."""
TESTS_XML = "/tmp/tests.xml"  # noqa: S108 - in a container of its own


@dataclass(frozen=True)
class HarnessPlan:
    """What is run, under which names, and where its reports go."""

    project: Project
    profile: str
    stamp: str
    token: str
    parts: tuple[str, ...] = PARTS
    scenario: str = ""
    """Only scenarios with this in their name."""
    limit: float = 120.0
    """Seconds in which a service has to become healthy."""
    keep: bool = False

    @property
    def scratch(self) -> EphemeralStack:
        """The stack that the harness brings up."""
        return EphemeralStack(
            self.project, "harness", self.profile, COMPOSE, self.stamp, self.token
        )

    @property
    def name(self) -> str:
        """The name of the stack's containers, volumes and network, and its images' version."""
        return self.scratch.name

    @property
    def image(self) -> str:
        """The image that the tests run in."""
        return f"{images.LOCAL_REGISTRY}/{self.project.slug}-test:{self.name}"

    @property
    def folder(self) -> Path:
        """The copy of the repository that the stack runs from."""
        return self.scratch.folder

    @property
    def reports(self) -> Path:
        """The folder of all reports and logs."""
        return self.project.root / "reports" / f"harness-{self.stamp}"

    @property
    def log(self) -> Path:
        """The one file that people read."""
        return self.project.root / "reports" / f"container-test-harness-{self.stamp}.log"

    @property
    def tester(self) -> str:
        """The container of the tests."""
        return f"{self.name}-tests"


def chosen_parts(only: str, scenario: str) -> tuple[str, ...]:
    """Return the parts to run: those named, the scenarios if one of them is named, or all.

    Raises:
        Refused: there is no such part.
    """
    named = (only or ("scenarios" if scenario else ",".join(PARTS))).split(",")
    if unknown := [part for part in named if part not in PARTS]:
        what = f"there is no part {unknown[0]!r}"
        raise Refused(what, f"choose from: {', '.join(PARTS)}", code=2)
    return tuple(part for part in PARTS if part in named)


def new_plan(
    project: Project,
    profile: str,
    **options: Any,  # noqa: ANN401 - HarnessPlan's own
) -> HarnessPlan:
    """Return a plan whose names no other run has.

    Raises:
        Refused: the profile is not one of a server.
    """
    if profile not in SERVERS:
        what = f"profile {profile}: the harness runs only the profiles of servers"
        raise Refused(what, f"choose one of: {', '.join(SERVERS)}", code=2)
    own = ephemeral.plan_stack(project, "harness", profile, COMPOSE)
    return HarnessPlan(project, profile, own.stamp, own.token, **options)


def build_command(plan: HarnessPlan, bases: Mapping[str, str]) -> list[str]:
    """Build the command that builds the image of the tests, on the base images that are pinned."""
    contexts = [f"--build-context={name}={place}" for name, place in bases.items()]
    return ["docker", "build", "--target", "test", "--tag", plan.image, *contexts, "."]


def tests_command(plan: HarnessPlan) -> list[str]:
    """Build the command that runs the tests in a container."""
    ignored = [f"--ignore-glob={path}" for path in ELSEWHERE]
    tests = ["python", "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={TESTS_XML}"]
    tests += ["--numprocesses=auto", "--dist=loadfile"]
    run = ["docker", "run", "--init", "--name", plan.tester]
    return [*run, plan.image, *tests, *ignored, "src", "tests"]


def fetch_command(plan: HarnessPlan) -> list[str]:
    """Build the command that copies the report of the tests out of their container."""
    return ["docker", "cp", f"{plan.tester}:{TESTS_XML}", str(plan.reports / "tests.xml")]


def verify_command(plan: HarnessPlan) -> list[str]:
    """Build the command that verifies the deployment, in a container of the API."""
    return ["python", "-m", f"{plan.project.package}.verify", "--json"]


def verified(text: str) -> list[HarnessCase]:
    """Read what the verification printed."""
    return [
        HarnessCase(
            "verify", one["name"], PASSED if one["ok"] else FAILED, one["seconds"], one["detail"]
        )
        for one in parse_json(text)["checks"]
    ]
