"""One run of the container test harness: its stack, its parts, its reports, and nothing left."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException, NotFound

from slipway.core import output, shell
from slipway.core.errors import Refused
from slipway.core.redaction import masked
from slipway.core.transaction import interruptible, uninterrupted
from slipway.harness import plan as harness_plan
from slipway.harness import report as harness_report
from slipway.harness import scenarios
from slipway.harness.chaos import Stage
from slipway.harness.player import Player
from slipway.harness.report import FAILED, PASSED, SKIPPED, Case
from slipway.harness.scenarios import Table
from slipway.stack import ephemeral
from slipway.stack.build import digests
from slipway.stack.engines import cleanup
from slipway.stack.engines.compose import ComposeEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipway.harness.plan import Plan

STACK = "stack"
TABLE = "tests/scenarios.yaml"
VERIFIED = "api"
"""The service in whose container the verification runs: it has every setting."""
BUILD_LIMIT = 3600.0
TESTS_LIMIT = 1200.0


class Trial:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        """Copy the repository to where the stack runs from, and choose its variables.

        Raises:
            Refused: there are no such scenarios.
        """
        self.plan = plan
        self.table = Table((), ())
        if "scenarios" in plan.parts:
            self.table = scenarios.named(scenarios.read(plan.project.root / TABLE), plan.wanted)
        self.found: list[Case] = []
        self.logs = plan.reports / "logs"
        self.logs.mkdir(parents=True)
        self.kept: dict[str, str] = {}
        ephemeral.copy_repository(plan.project.root, plan.folder)
        own, values = plan.scratch.project, plan.scratch.values() | harness_plan.VARIABLES
        self.engine = ComposeEngine(own, values, name=plan.name, before_removal=self._keep_logs)

    def run(self) -> dict[str, Any]:
        """Run the parts, collect what there is whatever happens, and return the summary."""
        start, ended = time.monotonic(), ""
        try:
            with interruptible():
                self._run_parts()
        except KeyboardInterrupt:
            ended = "interrupted"
            output.say("  Interrupted: collecting the logs, and taking everything down.")
        except BaseException:
            ended = "broken off"
            raise
        finally:
            with uninterrupted():
                self._finish()
                said = harness_plan.summary(self.plan, self.found, time.monotonic() - start, ended)
                self._report(said)
        return said

    def _run_parts(self) -> None:
        parts = self.plan.parts
        if "tests" in parts and self._tried(STACK, "test image", self._build):
            self._part("tests", "running in the test image", self._test)
        staged = [part for part in parts if part != "tests"]
        if staged and not self._tried(STACK, "up", lambda: self.engine.up(self.plan.limit)):
            self.found += [Case(part, "all of it", SKIPPED, 0.0, "no stack") for part in staged]
            return
        if "verify" in parts:
            self._part("verify", f"asking a container of {VERIFIED}", self._verify)
        if "scenarios" in parts:
            self._part("scenarios", f"of {TABLE}", self._play)

    def _part(self, part: str, doing: str, action: Callable[[], None]) -> None:
        """Run a part, and say in a line how it came out."""
        output.say(f"  {part:<12} {doing}")
        start = time.monotonic()
        self._tried(part, "all of it", action)
        (row,) = harness_report.totals([one for one in self.found if one.part == part]) or [{}]
        counts = ", ".join(f"{row.get(state, 0)} {state}" for state in (PASSED, FAILED, SKIPPED))
        outcome = row.get("outcome", SKIPPED)
        output.say(f"  {part:<12} {outcome:<12} {time.monotonic() - start:5.1f} s  {counts}")

    def _tried(self, part: str, name: str, action: Callable[[], object]) -> bool:
        """Do something; what can be expected to fail becomes a case that failed."""
        start = time.monotonic()
        try:
            action()
        except (Refused, DockerException, OSError, ValueError) as error:
            why = getattr(error, "what", str(error))
            self.found.append(Case(part, name, FAILED, time.monotonic() - start, why))
            output.say(why)
            return False
        if part == STACK:
            self.found.append(Case(part, name, PASSED, time.monotonic() - start))
        return True

    def _build(self) -> None:
        with output.step("test image", "building what changed"):
            command = harness_plan.build_command(
                self.plan, digests.locked_contexts(self.plan.folder)
            )
            self._logged("build.log", command, BUILD_LIMIT)

    def _logged(self, name: str, command: list[str], limit: float) -> None:
        with (self.plan.reports / name).open("ab") as log:
            shell.run(command, cwd=self.plan.folder, log=log, timeout=limit)

    def _test(self) -> None:
        """Run the tests; their own report says how they came out."""
        wrong, report = "", self.plan.reports / "tests.xml"
        try:
            self._logged("tests.log", harness_plan.tests_command(self.plan), TESTS_LIMIT)
        except Refused as error:
            wrong = error.what
        with suppress(Refused):
            shell.read(harness_plan.fetch_command(self.plan), cwd=self.plan.folder)
        if report.is_file():
            _write(report, said := report.read_text(encoding="utf-8"))
            self.found += harness_report.from_junit(said, "tests")
        if wrong and not harness_report.count(self.found, FAILED):
            raise Refused(f"{wrong}\n{output.last_lines(self.plan.reports / 'tests.log')}")

    def _stage(self) -> Stage:
        return Stage(self.engine, self.plan.limit)

    def _verify(self) -> None:
        _, said, errors = self._stage().inside(VERIFIED, harness_plan.verify_command(self.plan))
        _write(self.plan.reports / "verify.log", said + errors)
        if not said:
            raise Refused(f"the verification printed nothing but: {errors.strip()}")
        self.found += harness_plan.verified(said)

    def _play(self) -> None:
        known = self.engine.environment | {"PACKAGE": self.plan.project.package}
        with (self.plan.reports / "scenarios.log").open("w", encoding="utf-8") as log:
            player = Player(
                self._stage(), known, lambda line: print(masked(line), file=log, flush=True)
            )
            for case in player.play(self.table):
                self.found.append(case)
                output.say(f"    {case.state:<8} {case.seconds:5.1f} s  {case.name}")

    def _keep_logs(self) -> None:
        """Write what every container printed to a file of its own.

        One may have the name of an earlier one, which was removed: that one's file stays.
        """
        for item in self.engine.containers():
            said = item.logs(timestamps=True).decode(errors="replace")
            first = self.kept.setdefault(str(item.name), str(item.id)) == item.id
            name = item.name if first else f"{item.short_id}-{item.name}"
            _write(self.logs / f"{name}.log", said)

    def _finish(self) -> None:
        """Keep the logs, and leave nothing else behind unless that was asked for."""
        if self.plan.keep:
            self._tried(STACK, "logs", self._keep_logs)
            return
        output.say("  Taking it down.")
        for name, step in (("down", self._down), ("images", self._remove_images)):
            self._tried(STACK, name, step)
        shutil.rmtree(self.plan.folder, ignore_errors=True)

    def _down(self) -> None:
        with suppress(NotFound):
            self.engine.stack.client.containers.get(self.plan.tester).remove(force=True, v=True)
        self.engine.down(volumes=True)

    def _remove_images(self) -> None:
        for tag in cleanup.version_tags(self.engine.stack.client, self.plan.name):
            self.engine.stack.client.images.remove(tag)

    def _report(self, said: dict[str, Any]) -> None:
        """Write what came of it: JSON, JUnit, and the one log for people."""
        plan = self.plan
        _write(plan.reports / "summary.json", output.dumps(said) + "\n")
        for part in dict.fromkeys(one.part for one in self.found if one.part != "tests"):
            text = harness_report.junit(part, [one for one in self.found if one.part == part])
            _write(plan.reports / f"{part}.xml", text)
        logs = {
            str(path.relative_to(plan.reports)): path.read_text(encoding="utf-8", errors="replace")
            for path in sorted(plan.reports.rglob("*.log"))
        }
        _write(plan.log, harness_plan.readable(said, self.found, logs))


def _write(path: Path, text: str) -> None:
    """Write a report; what containers have printed is in it, and no secret."""
    path.write_text(masked(text), encoding="utf-8")
