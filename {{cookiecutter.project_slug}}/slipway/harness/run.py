"""One run of the container test harness: its stack, its parts, its reports; then all is removed."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException, NotFound

from slipway.core import output, shell
from slipway.core.errors import Refused
from slipway.core.redaction import masked
from slipway.core.transaction import interruptible, uninterrupted
from slipway.harness import plan as harness_plan
from slipway.harness import report as harness_report
from slipway.harness import scenarios
from slipway.harness.chaos import HarnessStack
from slipway.harness.report import FAILED, PASSED, SKIPPED, HarnessCase
from slipway.stack import ephemeral
from slipway.stack.build import digests
from slipway.stack.engines.compose import ComposeEngine
from slipway.stack.ephemeral import cleanup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipway.harness.plan import HarnessPlan

STACK = "stack"
VERIFIED = "api"
"""The service in whose container the verification runs: it has every setting."""
BUILD_LIMIT = 3600.0
TESTS_LIMIT = 1200.0


class HarnessRun:
    """One run of a plan."""

    def __init__(self, plan: HarnessPlan) -> None:
        """Copy the repository to where the stack runs from, and choose its variables.

        Raises:
            Refused: there are no such scenarios.
        """
        self.plan = plan
        if "scenarios" in plan.parts:
            scenarios.select(plan.project.root, plan.scenario)
        self.cases: list[HarnessCase] = []
        self.logs = plan.reports / "logs"
        self.logs.mkdir(parents=True)
        self._logged_ids: dict[str, str] = {}
        ephemeral.copy_repository(plan.project.root, plan.folder)
        own, values = plan.scratch.project, plan.scratch.values() | harness_plan.VARIABLES
        self.engine = ComposeEngine(own, values, name=plan.name, before_removal=self._save_logs)
        self.stack = HarnessStack(self.engine, plan.project.package, plan.limit)

    def run(self) -> dict[str, Any]:
        """Run the parts, write the reports whatever happens, and return the summary."""
        start, ended = time.monotonic(), ""
        try:
            with interruptible():
                self._run_parts()
        except KeyboardInterrupt:
            ended = "interrupted"
            output.say("  Interrupted: saving the logs and removing the stack.")
        except BaseException:
            ended = "broken off"
            raise
        finally:
            with uninterrupted():
                self._finish()
                seconds = time.monotonic() - start
                outcome = harness_report.summary(self.plan, self.cases, seconds, ended)
                self._report(outcome)
        return outcome

    def _run_parts(self) -> None:
        parts = self.plan.parts
        if "tests" in parts and self._tried(STACK, "test image", self._build):
            self._part("tests", "running in the test image", self._test)
        staged = [part for part in parts if part != "tests"]
        if staged and not self._tried(STACK, "up", lambda: self.engine.up(self.plan.limit)):
            self.cases += [
                HarnessCase(part, "all of it", SKIPPED, 0.0, "no stack") for part in staged
            ]
            return
        if "verify" in parts:
            self._part("verify", f"running in a container of {VERIFIED}", self._verify)
        if "scenarios" in parts:
            self._part("scenarios", f"running {scenarios.FOLDER}", self._run_scenarios)

    def _part(self, part: str, doing: str, action: Callable[[], None]) -> None:
        """Run a part, and print its outcome on one line."""
        output.say(f"  {part:<12} {doing}")
        start = time.monotonic()
        self._tried(part, "all of it", action)
        (row,) = harness_report.totals([one for one in self.cases if one.part == part]) or [{}]
        counts = ", ".join(f"{row.get(state, 0)} {state}" for state in (PASSED, FAILED, SKIPPED))
        outcome = row.get("outcome", SKIPPED)
        output.say(f"  {part:<12} {outcome:<12} {time.monotonic() - start:5.1f} s  {counts}")

    def _tried(self, part: str, name: str, action: Callable[[], object]) -> bool:
        """Do something; a failure that can be expected becomes a failed case."""
        start = time.monotonic()
        try:
            action()
        except (Refused, DockerException, OSError, ValueError) as error:
            why = getattr(error, "what", str(error))
            self.cases.append(HarnessCase(part, name, FAILED, time.monotonic() - start, why))
            output.say(why)
            return False
        if part == STACK:
            self.cases.append(HarnessCase(part, name, PASSED, time.monotonic() - start))
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
            self.cases += harness_report.from_junit(_redact(report), "tests")
        if wrong and not harness_report.count(self.cases, FAILED):
            raise Refused(f"{wrong}\n{output.last_lines(self.plan.reports / 'tests.log')}")

    def _verify(self) -> None:
        _, out, errors = self.stack.execute(VERIFIED, harness_plan.verify_command(self.plan))
        _write(self.plan.reports / "verify.log", out + errors)
        if not out:
            raise Refused(f"the verification printed only errors: {errors.strip()}")
        self.cases += harness_plan.verified(out)

    def _run_scenarios(self) -> None:
        shown = sys.stdout  # pytest's goes to its log

        def seen(case: HarnessCase) -> None:
            self.cases.append(case)
            with redirect_stdout(shown):
                output.say(f"    {case.state:<8} {case.seconds:5.1f} s  {case.name}")

        plugin = scenarios.ScenarioRun(self.stack, self.plan.scenario, seen)
        report = self.plan.reports / "scenarios.xml"
        try:
            with (self.plan.reports / "scenarios.log").open("w", encoding="utf-8") as log:
                scenarios.run(self.plan.project.root, plugin, log=log, junit=report)
        finally:
            if report.is_file():
                _redact(report)

    def _save_logs(self) -> None:
        """Write what every container printed to a file of its own.

        A container may have the name of one that was removed; the log of that one stays.
        """
        for item in self.engine.containers():
            said = item.logs(timestamps=True).decode(errors="replace")
            first = self._logged_ids.setdefault(str(item.name), str(item.id)) == item.id
            name = item.name if first else f"{item.short_id}-{item.name}"
            _write(self.logs / f"{name}.log", said)

    def _finish(self) -> None:
        """Save the logs, and remove everything else unless the stack is to be kept."""
        if self.plan.keep:
            self._tried(STACK, "logs", self._save_logs)
            return
        output.say("  Removing the stack.")
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

    def _report(self, outcome: dict[str, Any]) -> None:
        """Write the outcome: JSON, JUnit, and one log for people."""
        plan = self.plan
        _write(plan.reports / "summary.json", output.format_json(outcome) + "\n")
        for part in dict.fromkeys(one.part for one in self.cases):
            report = plan.reports / f"{part}.xml"
            if not report.is_file():  # pytest has not written it
                found = [one for one in self.cases if one.part == part]
                _write(report, harness_report.junit(part, found))
        logs = {
            str(path.relative_to(plan.reports)): path.read_text(encoding="utf-8", errors="replace")
            for path in sorted(plan.reports.rglob("*.log"))
        }
        _write(plan.log, harness_report.readable(outcome, self.cases, logs))


def _write(path: Path, text: str) -> None:
    """Write a report without the secrets that containers may have printed."""
    path.write_text(masked(text), encoding="utf-8")


def _redact(report: Path) -> str:
    """Take the secrets out of a report that another program wrote; return the rest."""
    _write(report, report.read_text(encoding="utf-8"))
    return report.read_text(encoding="utf-8")
