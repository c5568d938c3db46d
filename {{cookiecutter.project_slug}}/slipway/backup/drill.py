"""Drills: the recovery of a lost machine, made beside the live stack, and how long it took.

A drill copies the repository into `run/drill/<name>`, gives the copy ports, secrets and names of
its own, and lets `recovery` restore into it as on an empty machine. Nothing of that stays; what a
drill that was killed has left is found by its folder, and taken away by the next one.
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
"""The steps before those of the recovery: what a machine needs that has nothing yet."""
TALKED = ("stage", "swap", "models", "check")
"""The steps whose failure the services may have more to say about."""
LINES = 10
"""How many last lines of each service are shown then."""
MARGIN = 256 * 1024**2
"""Bytes of the disk that a second stack needs at the least, beside the data."""
MEMORY = 512 * 1024**2
"""Bytes of memory that it needs at the least."""
IMAGE = "{{.Repository}}:{{.Tag}}"
DRILL_COMMAND = f"inv {VERB} {restore_point.LATEST}"


class Drill:
    """One drill."""

    def __init__(
        self, source: Project, profile: str, wanted: RestoreRequest, *, keep: bool = False
    ) -> None:
        """Take the restore point; nothing is made yet."""
        self.source = source
        self.profile = profile
        self.wanted, self.point = wanted, wanted.point
        self.keep = keep
        self.scratch = ephemeral.plan_stack(source, PURPOSE, profile, wanted.point.engine)
        self.engine: Engine | None = None
        self.start = time.monotonic()

    def run(self, made: Change) -> float:
        """Restore it; return after how many seconds all of it worked again.

        Raises:
            Refused: a step failed, or this machine has no room for it.
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
        """Make all steps."""
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
        turn.look()
        turn.make()

    def _engine(self, project: Project, values: dict[str, str]) -> Engine:
        """Return the engine that the restore point is of; it goes by no name of the live one."""
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
        """Say of a failure what is not said yet; what helps is another thing than at a restore."""
        said = [error.what]
        if isinstance(error, StepFailed) and error.step in TALKED and self.engine:
            output.say(f"  last lines of {self.scratch.name}:")
            with suppress(Refused):
                self.engine.logs("", LINES, follow=False)
        if lacking := scarce_resources(self.scratch.folder.parent, 0):
            said.append(f"  {lacking}")
        said.append("  Nothing of the live stack has changed.")
        again = f"look at it while it is up: inv {VERB} {self.point.id} --keep"
        fix = again if not error.fix or "deploy." in error.fix else error.fix
        return Refused("\n".join(said), fix)

    def _leave(self) -> None:
        """Take everything down and away, unless it is wanted."""
        if self.keep:
            output.say(
                "\n".join(describe_kept_stack(self.source, self.scratch.folder, self.engine))
            )
            return
        output.say("  Taking it down.")
        try:
            remove_scratch_stack(self.scratch.folder)
        except (Refused, OSError) as error:
            why = getattr(error, "what", None) or str(error)
            output.say(f"  {self.scratch.name} is not gone: {why}\n  The next drill tries again.")


def remove_leftovers(source: Project) -> None:
    """Take away what earlier drills left, were they killed or asked to keep it.

    Raises:
        Refused: something is still there after that.
    """
    for folder in drill_leftovers(source):
        output.say(f"  Removing what an earlier drill left: {folder.name}")
        try:
            remove_scratch_stack(folder)
        except OSError as error:
            raise Refused(f"{folder}: {error.strerror or error}", f"rm -r {folder}") from error


def drill_leftovers(source: Project) -> list[Path]:
    """Return the folders of earlier drills; a drill that runs holds the lock of all changes."""
    return sorted(
        path for path in ephemeral.stacks_folder(source, PURPOSE).glob("*") if path.is_dir()
    )


def remove_scratch_stack(folder: Path) -> None:
    """Take away a scratch stack; its folder last, as long as that is there it will be found.

    Raises:
        Refused: something of it is still there.
        OSError: the folder cannot be deleted.
    """
    if (folder / "run" / "compose").is_dir():
        from slipway.stack.engines import cleanup  # noqa: PLC0415 - speed: only one engine is used

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
    """Say where a stack is that stays up, and what ends it."""
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
        f"It is still up, in {place}: {', '.join(urls) or 'no service of it runs'}",
        "The next drill removes it, or:",
        *(f"  {line}" for line in (*listed, f"rm -r {place}")),
    ]


def refuse_other_engine(point: restore_point.RestorePoint, engine: str) -> None:
    """Check that the engine that was asked for, if one was, is that of the restore point.

    Raises:
        Refused: it is another.
    """
    if engine not in ("", point.engine):
        what = f"{point.id} is of engine {point.engine}, and is drilled on that"
        raise Refused(what, f"inv {VERB} {point.id}", code=2)


def refuse_scarce_resources(folder: Path, size: int) -> None:
    """Check that a second stack fits on this machine.

    Raises:
        Refused: there is too little of something.
    """
    if lacking := scarce_resources(folder, size):
        raise Refused(f"no drill: {lacking}", "free some, then run it again")


def scarce_resources(folder: Path, size: int) -> str:
    """Say what this machine has too little of for the data of a restore point of that size."""
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
    """What came of a drill."""

    at: datetime
    point: str
    ok: bool
    seconds: float
    error: str = ""

    @property
    def age(self) -> timedelta:
        """How long ago it was; negative where the clock was set back since."""
        return datetime.now(UTC) - self.at

    @property
    def slow(self) -> bool:
        """Say whether it took longer than it may."""
        return self.seconds > metrics.RECOVERY_TIME.total_seconds()


def last_drill(root: Path, series: tuple[str, str] | None = None) -> DrillResult | None:
    """Return the last drill of the same data, or of any, that came to an end by itself."""
    found = metrics.completed_drills(journal.entries(root))
    ours = (item for item in found if series in (None, (item.get("profile"), item.get("engine"))))
    return next((parse_drill(item) for item in ours if "seconds" in item), None)


def parse_drill(entry: dict[str, Any]) -> DrillResult:
    """Read what the journal says of a drill."""
    at, ok = datetime.fromisoformat(entry["at"]), entry["outcome"] == "done"
    return DrillResult(at, entry["point"], ok, entry["seconds"], entry.get("error", ""))


def describe_duration(seconds: float) -> str:
    """Say how long a recovery took, beside how long it may take."""
    wanted = metrics.format_objective(metrics.RECOVERY_TIME)
    long = seconds >= 600  # noqa: PLR2004 - people say 570 s, and 12 min
    written = f"{seconds / 60:.0f} min" if long else f"{seconds:.0f} s"
    return f"took {written}; the objective is {wanted}"


def report_objectives(project: Project, known: Sequence[restore_point.RestorePoint]) -> list[str]:
    """Say of each profile and engine that has restore points how far it is from the objectives."""
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
    """Say what came of the last drill."""
    drill = last_drill(project.root, series)
    if not drill:
        return f"No drill yet: {DRILL_COMMAND}"
    ended = describe_duration(drill.seconds) if drill.ok else "failed"
    return f"The last drill, {output.format_elapsed(drill.age)} ago, {ended}"
