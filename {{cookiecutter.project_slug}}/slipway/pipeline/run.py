"""A run of stages over series: in order, in parallel, resuming where an earlier run stopped."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slipway.core import files, output
from slipway.core.errors import Refused
from slipway.core.transaction import uninterrupted
from slipway.pipeline import fingerprint
from slipway.pipeline.runners import StageExecution, StageStopped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slipway.core.project import Project
    from slipway.pipeline.runners import StageRunner
    from slipway.pipeline.stages import PipelineStage, WorkItem

MADE, SKIPPED, FAILED, STOPPED, LEFT = "made", "skipped", "failed", "stopped", "not reached"
POLL = 0.2
"""Seconds between two checks for Ctrl-C."""


def new_run_id() -> str:
    """Return an id from the time, unique even within a second."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class RunPlan:
    """The stages, series and options of a run."""

    stages: Sequence[PipelineStage]
    works: Sequence[WorkItem]
    parameters: Sequence[str] = ()
    """The arguments after `--`, for a run of a single stage."""
    again: bool = False
    """Also run what is up to date."""
    limit: float = 3600.0
    """Seconds that a stage may take for a series."""
    lanes: int = 1
    """How many series run in parallel."""


@dataclass(frozen=True)
class StageOutcome:
    """The outcome of a stage for a series."""

    series: str
    stage: str
    state: str
    seconds: float
    why: str = ""
    """Why it had to run, or what went wrong."""

    @property
    def line(self) -> dict[str, object]:
        """The columns that are printed."""
        seconds = "-" if self.state in {SKIPPED, LEFT} else f"{self.seconds:.1f}"
        why = self.why.partition("\n")[0]
        return {
            "series": self.series,
            "stage": self.stage,
            "state": self.state,
            "seconds": seconds,
            "why": why,
        }


@dataclass
class PipelineRun:
    """A run in progress."""

    project: Project
    runner: StageRunner
    plan: RunPlan
    id: str
    stop: threading.Event = field(default_factory=threading.Event)
    outcomes: list[StageOutcome] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder with its logs and summary."""
        return self.project.root / "reports" / "pipeline" / self.id

    def log(self, work: WorkItem, stage: PipelineStage) -> Path:
        """Return the log of a stage for a series."""
        return self.folder / work.name / f"{stage.name}.log"

    def run_all(self) -> list[StageOutcome]:
        """Run the stages for every series; a failure does not stop the other series.

        Ctrl-C stops what is running, and is raised once that has ended.
        """
        self.folder.mkdir(parents=True)
        with ThreadPoolExecutor(max_workers=self.plan.lanes) as pool:
            passages = [pool.submit(self._passage, work) for work in self.plan.works]
            try:
                while wait(passages, timeout=POLL).not_done:
                    pass  # signals are handled in between
            except BaseException:
                with uninterrupted():
                    self.stop.set()
                    output.say("  Stopping what is running.")
                    pool.shutdown(cancel_futures=True)
                    self._summarise()
                raise
            for passage in passages:
                passage.result()
        return self._summarise()

    def _passage(self, work: WorkItem) -> None:
        """Run the stages for one series, up to the first that fails."""
        names = [stage.name for stage in self.plan.stages]
        for at, stage in enumerate(self.plan.stages):
            outcome = self._stage(work, stage)
            self._tell(outcome)
            if outcome.state not in {MADE, SKIPPED}:
                self.outcomes += [
                    StageOutcome(work.name, name, LEFT, 0.0) for name in names[at + 1 :]
                ]
                return

    def _stage(self, work: WorkItem, stage: PipelineStage) -> StageOutcome:
        """Run a stage if it has to run, and save its fingerprint."""
        start = time.monotonic()

        def ended(state: str, why: str) -> StageOutcome:
            return StageOutcome(work.name, stage.name, state, time.monotonic() - start, why)

        try:
            if self.stop.is_set():
                return ended(STOPPED, "")
            given = self.runner.stage_settings(stage, self.plan.parameters)
            what = fingerprint.fingerprint_stage(self.project, stage, work, given)
            why = fingerprint.rerun_reason(self.project, stage, work, what)
            if self.plan.again:
                why = why or "--again"
            if given.reads_remote:
                why = why or "its source is remote"
            if not why:
                return ended(SKIPPED, "")
            log = self.log(work, stage)
            log.parent.mkdir(parents=True, exist_ok=True)
            turn = StageExecution(log, self.stop, self.plan.limit)
            self.runner.run(stage, work, self.plan.parameters, turn)
            fingerprint.save_fingerprint(self.project, stage, work, what)
        except StageStopped:
            return ended(STOPPED, "")
        except Refused as error:
            return ended(FAILED, str(error))
        except OSError as error:
            return ended(FAILED, f"{error.filename}: {error.strerror}")
        return ended(MADE, why)

    def _tell(self, outcome: StageOutcome) -> None:
        self.outcomes.append(outcome)
        line = outcome.line
        width = max(len(work.name) for work in self.plan.works)
        stages = max(len(stage.name) for stage in self.plan.stages)
        words = [f"{outcome.series:<{width}}", f"{outcome.stage:<{stages}}"]
        words += [f"{outcome.state:<8}", f"{line['seconds']:>6} s", str(line["why"])]
        output.say("  " + "  ".join(words).replace("     - s", "        ").rstrip())

    def failure(self) -> str:
        """Describe each failure with the last lines of its log; empty if nothing failed."""
        said = []
        for item in self.outcomes:
            if item.state == FAILED:
                log = self.folder / item.series / f"{item.stage}.log"
                said += [f"{item.series}: {item.stage} failed: {item.why}", output.last_lines(log)]
        return "\n".join(filter(None, said))

    def _summarise(self) -> list[StageOutcome]:
        """Sort the outcomes by series and stage, and write the summary."""
        works = [work.name for work in self.plan.works]
        names = [stage.name for stage in self.plan.stages]
        place = {(one, name): (i, j) for i, one in enumerate(works) for j, name in enumerate(names)}
        known = {(item.series, item.stage) for item in self.outcomes}
        never = [StageOutcome(*key, LEFT, 0.0) for key in place if key not in known]
        self.outcomes += never
        self.outcomes.sort(key=lambda item: place[item.series, item.stage])
        told = [asdict(item) for item in self.outcomes]
        content = {"run": self.id, "engine": self.runner.name, "outcomes": told}
        files.replace_file(self.folder / "summary.json", output.format_json(content) + "\n")
        return self.outcomes


def count_states(outcomes: Sequence[StageOutcome]) -> dict[str, int]:
    """Count the outcomes by state."""
    return dict(Counter(item.state for item in outcomes))


def format_counts(outcomes: Sequence[StageOutcome]) -> str:
    """Return the counts of outcomes by state, in words."""
    return ", ".join(f"{number} {state}" for state, number in count_states(outcomes).items())
