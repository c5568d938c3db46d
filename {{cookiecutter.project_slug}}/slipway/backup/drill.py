"""Drills: a restore as on an empty machine, beside the live stack, and how long it took.

A drill copies the repository into `run/drill/<name>`, gives the copy its own ports, secrets and
names, restores into it, and removes it. What a killed drill has left is found by its folder, and
removed by the next drill.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psutil

from slipway.backup import metrics, restore, restore_point
from slipway.backup.databases import select
from slipway.backup.restore import RestoreRun
from slipway.config.schema import COMPOSE, LOCAL
from slipway.core import journal, output
from slipway.core.errors import Refused
from slipway.core.transaction import Change, StepFailed, Steps, uninterrupted
from slipway.stack import ephemeral
from slipway.stack.engines import choose_engine
from slipway.stack.engines.containers import connect_engine
from slipway.stack.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slipway.backup.restore import RestoreRequest
    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine

VERB = metrics.DRILL
PURPOSE = "drill"
PREPARED = {LOCAL: ("copy",), COMPOSE: ("copy", "images", "server")}
"""The steps before those of the restore: what an empty machine needs first."""
TALKED = ("stage", "swap", "models", "check")
"""The steps whose failure the logs of services may explain."""
LINES = 10
"""How many last lines of each log are shown then."""
MARGIN = 256 * 1024**2
"""Bytes of disk space that a second stack needs at least, in addition to the data."""
MEMORY = 512 * 1024**2
"""Bytes of memory that it needs at least."""
IMAGE = "{{.Repository}}:{{.Tag}}"
DRILL_COMMAND = f"inv {VERB} {restore_point.LATEST}"


class Drill:
    """One drill."""

    def __init__(
        self, source: Project, profile: str, wanted: RestoreRequest, *, keep: bool = False
    ) -> None:
        self.source = source
        self.profile = profile
        self.wanted, self.point = wanted, wanted.point
        self.keep = keep
        self.scratch = ephemeral.plan_stack(source, PURPOSE, profile, wanted.point.engine)
        self.engine: Engine | None = None
        self.start = time.monotonic()

    def run(self, made: Change) -> float:
        """Run the drill; return the seconds until everything worked.

        Raises:
            Refused: a step failed, or this machine has too little disk space or memory.
        """
        remove_leftovers(self.source)
        refuse_scarce_resources(self.scratch.folder.parent, self.point.size)
        names = (*PREPARED[self.point.engine], *restore.ALL_STEPS)
        own, values = Steps(made, names), self.scratch.values()
        self.start = time.monotonic()
        try:
            with ephemeral.unset_variables(ephemeral.inherited_variables(self.source, values)):
                self._recover(own, values)
        except Refused as error:
            raise self._explained(error) from error
        finally:
            seconds = round(time.monotonic() - self.start, 1)
            with uninterrupted():
                self._leave()
                made.note(seconds=seconds, steps=own.seconds)
        return seconds

    def _recover(self, own: Steps, values: dict[str, str]) -> None:
        """Run all steps."""
        project = self.scratch.project
        with own.run("copy") as step:
            ephemeral.copy_repository(self.source.root, project.root)
            project.run.mkdir()
            session = Session(project, self.profile, self._engine(project, values))
            step.detail = f"the repository, into {project.root.relative_to(self.source.root)}"
        if self.point.engine == COMPOSE:
            self._prepare(own, session)
        change = Change(project.root, restore.VERB, {"point": self.point.id})
        turn = RestoreRun(session, change, select.open_database(session), self.wanted, own)
        turn.inspect()
        turn.run_steps()

    def _engine(self, project: Project, values: dict[str, str]) -> Engine:
        """Return an engine of the restore point's kind, under a name of its own."""
        name, engine = self.scratch.name, self.point.engine
        self.engine = choose_engine(engine, project, values, gpu=False, stack_name=name)
        return self.engine

    def _prepare(self, own: Steps, session: Session) -> None:
        """Get the images, and start the empty server of the database."""
        with own.run("images") as step:
            session.engine.obtain_images()
            step.detail = f"of version {self.scratch.name}"
        with own.run("server", "starting the database"):
            select.open_database(session).start(self.wanted.limit)

    def _explained(self, error: Refused) -> Refused:
        """Add logs and advice to a failure: what helps differs from a real restore."""
        said = [error.what]
        if isinstance(error, StepFailed) and error.step in TALKED and self.engine:
            output.say(f"  last lines of {self.scratch.name}:")
            with suppress(Refused):
                self.engine.logs("", LINES, follow=False)
        if lacking := scarce_resources(self.scratch.folder.parent, 0):
            said.append(f"  {lacking}")
        said.append("  The live stack is unchanged.")
        again = f"to inspect it, keep it up: inv {VERB} {self.point.id} --keep"
        fix = again if not error.fix or "deploy." in error.fix else error.fix
        return Refused("\n".join(said), fix)

    def _leave(self) -> None:
        """Remove the scratch stack, unless it is to be kept."""
        if self.keep:
            output.say(
                "\n".join(describe_kept_stack(self.source, self.scratch.folder, self.engine))
            )
            return
        output.say("  Removing the scratch stack.")
        try:
            remove_scratch_stack(self.scratch.folder)
        except (Refused, OSError) as error:
            why = getattr(error, "what", None) or str(error)
            output.say(
                f"  {self.scratch.name} could not be removed: {why}\n  The next drill tries again."
            )


def remove_leftovers(source: Project) -> None:
    """Remove what earlier drills left, killed or run with --keep.

    Raises:
        Refused: something could not be removed.
    """
    for folder in drill_leftovers(source):
        output.say(f"  Removing the remains of an earlier drill: {folder.name}")
        try:
            remove_scratch_stack(folder)
        except OSError as error:
            raise Refused(f"{folder}: {error.strerror or error}", f"rm -r {folder}") from error


def drill_leftovers(source: Project) -> list[Path]:
    """Return the folders of earlier drills; a running drill holds the lock of changes."""
    return sorted(
        path for path in ephemeral.stacks_folder(source, PURPOSE).glob("*") if path.is_dir()
    )


def remove_scratch_stack(folder: Path) -> None:
    """Remove a scratch stack, its folder last, because it is found by that.

    Raises:
        Refused: something of it could not be removed.
        OSError: the folder cannot be deleted.
    """
    if (folder / "run" / "compose").is_dir():
        from slipway.stack.ephemeral import cleanup  # noqa: PLC0415 - speed: only one engine is used

        cleanup.remove_stack(connect_engine(), folder.name)
    if (folder / "run").is_dir():
        from slipway.stack.engines.supervisor import (  # noqa: PLC0415 - speed: only one is used
            Supervisor,
            SupervisorFiles,
        )

        places = SupervisorFiles(folder, folder / "run" / "local")
        Supervisor(places).stop()
        places.socket.unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(folder)


def describe_kept_stack(source: Project, folder: Path, engine: Engine | None) -> list[str]:
    """Describe where a kept stack is, and how to remove it."""
    name, place = folder.name, folder.relative_to(source.root)
    urls = [item.url for item in engine.status() if item.url] if engine else []
    ends = {
        LOCAL: [
            f"pid=$(cat {place}/run/local/supervisord.pid)",
            "kill $pid; while kill -0 $pid 2>/dev/null; do sleep 1; done",
        ],
        COMPOSE: [
            f"docker compose --project-name {name} down --volumes",
            f"docker image rm $(docker image ls --format '{IMAGE}' '*/*:{name}')",
        ],
    }
    listed = ends[engine.name] if engine else []
    return [
        f"It is still up, in {place}: {', '.join(urls) or 'no service is running'}",
        "The next drill removes it. To remove it now:",
        *(f"  {line}" for line in (*listed, f"rm -r {place}")),
    ]


def refuse_other_engine(point: restore_point.RestorePoint, engine: str) -> None:
    """Check that the requested engine, if any, is that of the restore point.

    Raises:
        Refused: it is another.
    """
    if engine not in ("", point.engine):
        what = f"{point.id} is of engine {point.engine}, so its drill runs on that"
        raise Refused(what, f"inv {VERB} {point.id}", code=2)


def refuse_scarce_resources(folder: Path, size: int) -> None:
    """Check that a second stack fits on this machine.

    Raises:
        Refused: there is too little disk space or memory.
    """
    if lacking := scarce_resources(folder, size):
        raise Refused(f"not enough room for a drill: {lacking}", "free some, then try again")


def scarce_resources(folder: Path, size: int) -> str:
    """Return what this machine has too little of for a restore point of a size, in words."""
    folder.mkdir(parents=True, exist_ok=True)
    lacking = {
        f"of the disk of {folder}": (shutil.disk_usage(folder).free, 2 * size + MARGIN),
        "of memory": (psutil.virtual_memory().available, MEMORY),
    }
    return "; ".join(
        f"{output.format_size(free)} {what} free, at least {output.format_size(needed)} needed"
        for what, (free, needed) in lacking.items()
        if free < needed
    )


@dataclass(frozen=True)
class DrillResult:
    """The result of a drill."""

    at: datetime
    point: str
    ok: bool
    seconds: float
    error: str = ""

    @property
    def age(self) -> timedelta:
        """How long ago it was; negative if the clock was set back since."""
        return datetime.now(UTC) - self.at

    @property
    def slow(self) -> bool:
        """Tell whether it took longer than the objective."""
        return self.seconds > metrics.RECOVERY_TIME.total_seconds()


def last_drill(root: Path, series: tuple[str, str] | None = None) -> DrillResult | None:
    """Return the last drill of a profile and engine, or of any, that was not interrupted."""
    found = metrics.completed_drills(journal.entries(root))
    ours = (item for item in found if series in (None, (item.get("profile"), item.get("engine"))))
    return next((parse_drill(item) for item in ours if "seconds" in item), None)


def parse_drill(entry: dict[str, Any]) -> DrillResult:
    """Parse the journal entry of a drill."""
    at, ok = datetime.fromisoformat(entry["at"]), entry["outcome"] == "done"
    return DrillResult(at, entry["point"], ok, entry["seconds"], entry.get("error", ""))


def describe_duration(seconds: float) -> str:
    """Describe how long a drill took, beside the objective."""
    wanted = metrics.format_objective(metrics.RECOVERY_TIME)
    long = seconds >= 600  # noqa: PLR2004 - 570 s reads well, and so does 12 min
    written = f"{seconds / 60:.0f} min" if long else f"{seconds:.0f} s"
    return f"took {written}; the objective is {wanted}"


def report_objectives(project: Project, known: Sequence[restore_point.RestorePoint]) -> list[str]:
    """Compare each profile and engine that has restore points with the objectives."""
    return [
        f"{'/'.join(series)}: {_newest(project, series)}. {_drilled(project, series)}."
        for series in dict.fromkeys(point.series for point in known)
    ]


def _newest(project: Project, series: tuple[str, str]) -> str:
    point = restore_point.newest_point(project.backups, series)
    wanted = metrics.format_objective(metrics.RECOVERY_POINT)
    age = f"{output.format_elapsed(point.age)} old" if point else "none"
    return f"newest verified: {age}; the objective is {wanted}"


def _drilled(project: Project, series: tuple[str, str]) -> str:
    """Describe the last drill."""
    drill = last_drill(project.root, series)
    if not drill:
        return f"No drill yet: {DRILL_COMMAND}"
    ended = describe_duration(drill.seconds) if drill.ok else "failed"
    return f"The last drill, {output.format_elapsed(drill.age)} ago, {ended}"
