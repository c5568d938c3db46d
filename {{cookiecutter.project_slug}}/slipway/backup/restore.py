"""Restoring: a restore point goes live, or everything stays as it was.

Steps 1 to 4 check the restore point and restore its database beside the live one, which stays in
use. Services notice from step 5 on; if a step fails after that, the previous state is put back.
"""

from __future__ import annotations

import filecmp
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.backup import archive, create, restore_point
from slipway.backup.offsite import copies, download
from slipway.core import files, journal, output, transaction
from slipway.core.errors import Finding, Refused
from slipway.core.transaction import Steps, uninterrupted
from slipway.models import history, registry, replicas
from slipway.stack import engines, provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from slipway.backup.databases.base import DatabaseContent, StackDatabase
    from slipway.backup.restore_point import RestorePoint
    from slipway.core.transaction import Change
    from slipway.stack.session import Session

DATABASE, MODELS = "database", "models"
ALL_STEPS = ("files", "migration", "safety", "stage", "stop", "swap", "models", "start", "check")
STEPS = {
    "": ALL_STEPS,
    DATABASE: tuple(name for name in ALL_STEPS if name != MODELS),
    MODELS: ("files", "models"),
}
CHECKS = {
    "": ("settings", "database", "models", "golden", "cache"),
    DATABASE: ("settings", "database"),
}
"""What the application's `verify` checks last; not the age of data, which a restore increases."""
HARMLESS = ("files", "migration", "safety", "stage")
"""The steps that services do not notice."""
STAGED, OLD = "restore_", "before_"
"""The prefixes of databases that are not live yet, and no longer live."""
NEEDED = "postgres"
"""The service whose dependents are stopped."""
MIGRATION_LIMIT = 1800.0
"""Seconds to ask the code whether it knows a migration; its image may have to be built first."""
CHECK_LIMIT = 300.0
SERVE_LIMIT = 30.0
"""Seconds until every process has to serve the models."""
VERB = "backup.restore"


def choose_point(session: Session, name: str, identity: str = "") -> RestorePoint:
    """Return a restore point by its id, as the newest verified one, or from a file or a URL.

    One from elsewhere is imported first.

    Raises:
        Refused: there is none, or it is damaged.
    """
    project = session.project
    if name == restore_point.LATEST:
        if found := restore_point.newest_point(project.backups, session.series):
            return found
        name = _latest_away(session)
    elsewhere = download.is_file_or_url(name)
    id_ = download.identify_point(name) if elsewhere else name
    if id_ and (project.backups / id_).exists():
        if elsewhere:
            output.say(f"  Using {id_} from here instead of {download.printable_source(name)}.")
        return restore_point.find_point(project.backups, id_)
    maybe_away = restore_point.ID.fullmatch(name) and copies.configured_offsite(
        project, session.profile
    )
    if not elsewhere and not maybe_away:
        return restore_point.find_point(project.backups, name)
    with output.show_waiting(f"fetching {download.printable_source(name)}"):
        return download.import_point(project, session.profile, name, identity)


def _latest_away(session: Session) -> str:
    """Return the id of the newest verified restore point off-site.

    Raises:
        Refused: there is none, or the storage does not answer.
    """
    away = copies.configured_offsite(session.project, session.profile)
    copy = away.latest(session.series, but=restore_point.SAFETY) if away else None
    if copy:
        return copy.id
    profile, engine = session.series
    where = f"here or in {away.shown}" if away else "here"
    what = f"there is no verified restore point of profile {profile} on engine {engine} {where}"
    raise Refused(what, "choose one: inv backup.list", code=2)


@dataclass
class RestoreProgress:
    """What has been done so far, to be undone after a failure."""

    staged: str = ""
    old: str = ""
    links: dict[str, str] | None = None
    """What each tier served, from the step on that may change it."""
    resume: Callable[[float], None] | None = None
    """Starts the services that were stopped."""


@dataclass(frozen=True)
class RestoreRequest:
    """The restore point to restore, and how."""

    point: RestorePoint
    only: str = ""
    """DATABASE or MODELS; both if empty."""
    limit: float = 120.0
    """Seconds that each service may take to become healthy."""


class RestoreRun:
    """One restore."""

    def __init__(
        self,
        session: Session,
        change: Change,
        database: StackDatabase,
        wanted: RestoreRequest,
        steps: Steps | None = None,
    ) -> None:
        """Prepare a restore; nothing is changed yet.

        `steps` is given if these are part of a longer sequence.
        """
        self.session = session
        self.engine = session.engine
        self.change = change
        self.database = database
        self.point, self.only, self.limit = wanted.point, wanted.only, wanted.limit
        self.steps = steps or Steps(change, STEPS[self.only])
        self.progress = RestoreProgress()
        self.was_running = any(item.replicas for item in self.engine.status())
        self.now: DatabaseContent | None = None
        self.unreadable = ""
        """Why the live database cannot be read; empty if it can."""

    @property
    def folder(self) -> Path:
        """The folder of the models."""
        return self.session.project.models

    def inspect(self) -> None:
        """Look at the live database; that it cannot be read is a reason to restore, not to stop."""
        if self.only == MODELS:
            return
        self.database.start(self.limit)
        try:
            if self.database.exists(self.database.live):
                self.now = self.database.measure()
        except Refused as error:
            self.unreadable = error.what.partition("\n")[0]

    def plan(self) -> Iterator[dict[str, object]]:
        """Yield what will change: a row for each table and each tier."""
        if self.only != MODELS:
            now = self.now.tables if self.now else {}
            then = self.point.content.tables
            for name in sorted({*now, *then}):
                sides = (f"{one[name].rows} rows" if name in one else "" for one in (now, then))
                table = f"table {' '.join(name.split())}"
                yield dict(zip(("what", "now", "then"), (table, *sides), strict=True))
        if self.only != DATABASE:
            for tier, file in sorted(self.point.models.items()):
                served = registry.served_file(self.folder, tier)
                yield {"what": f"model {tier}", "now": served, "then": file}

    def run(self, ask: Callable[[], None]) -> None:
        """Inspect the live data, ask, and run all steps; put everything back after a failure.

        Raises:
            Refused: the answer was no, or a step failed; the message says what is live now.
        """
        try:
            self.inspect()
            ask()
            self.run_steps()
        except Refused as error:
            raise Refused(f"{error.what}\n  {self.undo()}", error.fix, error.code) from error
        except BaseException:
            output.say(f"  {self.undo()}")
            raise

    def run_steps(self) -> None:
        """Run all steps; after a failure, nothing is put back here.

        Raises:
            StepFailed: one failed.
        """
        self._files()
        if self.only == MODELS:
            self._models()
        else:
            self._database()
        self._record()

    def _database(self) -> None:
        self._migration()
        self._safety()
        self._stage()
        self._stop()
        self._swap()
        if not self.only:
            self._models()
        self._start()
        self._check()

    def _files(self) -> None:
        with self.steps.run("files", "comparing checksums") as step:
            archive.refuse_damaged_point(self.point)
            step.detail = f"{len(self.point.files)} files are unchanged"

    def _migration(self) -> None:
        """Check that the code knows the migration: it upgrades only older ones."""
        revisions = list(filter(None, self.point.content.migration.split(",")))
        with self.steps.run("migration", "asking the code") as step:
            for revision in revisions:
                self._known(revision)
            step.detail = ", ".join(revisions) or "none: all will be applied"

    def _known(self, revision: str) -> None:
        try:
            self._asked(["python", "-m", "alembic", "show", revision], MIGRATION_LIMIT)
        except Refused as error:
            if "locate revision" not in error.what:
                raise
            made = self.point.manifest.get("revision") or "that made it"
            what = f"this code does not know migration {revision}: the code is older"
            raise Refused(
                what, f"check out the code of the restore point: revision {made}"
            ) from error

    def _asked(self, command: list[str], limit: float) -> None:
        """Run a command of the application.

        Raises:
            Refused: it fails; the message includes its output.
        """
        said: list[str] = []
        try:
            for line in self.engine.trial(command, limit):
                said.append(line.rstrip())  # noqa: PERF401 - those before a failure count
        except Refused as error:
            raise Refused("\n".join([error.what, *said]), error.fix) from error

    def _safety(self) -> None:
        """Create a restore point of the live data."""
        if self.unreadable:
            self.steps.skip("safety", f"cannot be read, kept as it is: {self.unreadable}")
        elif not (self.now and self.now.tables):
            self.steps.skip("safety", "there is no data")
        else:
            with self.steps.run("safety") as step:
                parts = Steps(self.change, create.STEPS, f"{self.steps.number('safety')}.")
                made = create.create_restore_point(
                    self.session, parts, self.database, restore_point.SAFETY
                )
                self.change.note(point=self.point.id, safety=made.id)
                step.detail = made.id

    def _stage(self) -> None:
        """Restore into a new database, and compare it with the manifest."""
        mark = secrets.token_hex(4)
        staged, old = f"{STAGED}{mark}", f"{OLD}{mark}"
        self.change.note(staged=staged, old=old)
        with self.steps.run("stage", "restoring it beside the live one") as step:
            for name in self.database.other_databases():
                if name.startswith(STAGED):  # of a restore that was killed
                    self.database.drop(name)
            self.progress.staged, self.progress.old = staged, old
            restored = self.database.stage(self.point.database, staged)
            if wrong := self.point.content.differences(restored):
                raise Refused(
                    f"the restored database differs from what was dumped: {'; '.join(wrong[:3])}"
                )
            if not self.point.verified:
                with suppress(OSError):  # it is restored all the same
                    self.point = restore_point.mark_verified(self.point, VERB)
            step.detail = f"as dumped: {restored.summary}"

    def _stop(self) -> None:
        """Stop the services that write to the database."""
        with self.steps.run("stop", "stopping what uses the database") as step:
            running = [item.service for item in self.engine.status() if item.replicas]
            with uninterrupted():  # what was stopped has to be known
                self.progress.resume = self.engine.halt(NEEDED)
            left = [item.service for item in self.engine.status() if item.replicas]
            stopped = [name for name in running if name not in left]
            step.detail = ", ".join(stopped) or "nothing was running"

    def _swap(self) -> None:
        live = self.database.live
        # The swap is atomic; but whether it happened has to be known.
        with self.steps.run("swap") as step, uninterrupted():
            self.database.swap(self.progress.staged, self.progress.old)
            step.detail = f"{self.progress.staged} is {live}, the one before is {self.progress.old}"

    def _models(self) -> None:
        """Copy back missing or damaged model files, and move the links."""
        with self.steps.run("models") as step:
            self.progress.links = {
                tier: registry.served_file(self.folder, tier) for tier in self.point.models
            }
            self.folder.mkdir(exist_ok=True)
            brought = self._bring()
            for tier, file in self.point.models.items():
                registry.point_link(self.folder, tier, file)
            self._serve(self.point.models)
            moved = [f"{tier} -> {file}" for tier, file in self.point.models.items()]
            said = [f"copied back: {', '.join(brought)}"] if brought else []
            step.detail = "; ".join([", ".join(moved) or "the restore point has none", *said])

    def _bring(self) -> list[str]:
        """Copy back each file that differs; an artifact before its metadata."""
        found = sorted(self.point.folder.glob("models/*"), key=lambda path: path.suffix == ".json")
        changed = [path for path in found if not _same(path, self.folder / path.name)]
        restore_point.refuse_scarce_disk(self.folder, sum(path.stat().st_size for path in changed))
        for path in changed:
            with files.replacing_file(self.folder / path.name) as temporary:
                shutil.copyfile(path, temporary)
        return [path.name for path in changed]

    def _serve(self, models: Mapping[str, str]) -> None:
        """Wait until every running process serves the models."""
        running = self.engine.replicas
        reports = replicas.report_folder(self.session.project.run)
        for tier, file in models.items():
            if file and running():
                replicas.await_everywhere(reports, running, tier, file, SERVE_LIMIT)

    def _start(self) -> None:
        """Bring everything up; this upgrades an older migration first."""
        with self.steps.run("start") as step:
            self.engine.up(self.limit)
            engines.note_stack(self.session.project, self.engine.name, self.session.profile)
            provenance.publish_provenance(self.session)
            found = self.engine.status()
            step.detail = f"{sum(item.state == 'healthy' for item in found)} services are healthy"

    def _check(self) -> None:
        """Let the application check its data."""
        names = CHECKS[self.only]
        command = ["python", "-m", f"{self.session.project.package}.verify", "--only", *names]
        with self.steps.run("check", "asking the application") as step:
            try:
                self._asked(command, CHECK_LIMIT)
            except Refused as error:
                wrong = [line for line in error.what.splitlines() if line.startswith("FAILED")]
                raise Refused("; ".join(wrong) or error.what) from error
            step.detail = ", ".join(names)

    def _record(self) -> None:
        served = {
            tier: history.served_version(self.folder, tier) for tier in self.progress.links or {}
        }
        self.change.commit(**({"models": served} if served else {}))

    def undo(self) -> str:
        """Put back what was live; return what is live now, in words."""
        with uninterrupted():
            wrong: list[str] = []
            for part in (self._database_back, self._links_back, self._running_back):
                try:
                    part()
                except (Refused, OSError) as error:
                    wrong.append(getattr(error, "what", None) or str(error))
        if not wrong and not (self.progress.resume or self.progress.links):
            return "Nothing was changed."
        if not wrong:
            return "The previous state is live again."
        fix = f"inv deploy.up, then: inv {VERB} {self.change.facts.get('safety', self.point.id)}"
        return "\n  ".join(["It could not be put back:", *wrong, f"To fix it: {fix}"])

    def _database_back(self) -> None:
        """Swap the databases back if they were swapped; drop the one that is not needed."""
        staged, old = self.progress.staged, self.progress.old
        if not staged:
            return
        if self.progress.resume and not self.database.exists(staged):
            self.engine.halt(NEEDED)
            if not self.database.exists(old):
                output.say("  There was no database before: the restored one is kept.")
                return
            output.say(f"  Putting back: {old} -> {self.database.live}")
            self.database.swap(old, staged)
        with suppress(Refused, OSError):  # the next restore tries again
            self.database.drop(staged)

    def _links_back(self) -> None:
        for tier, file in (self.progress.links or {}).items():
            if registry.served_file(self.folder, tier) != file:
                registry.point_link(self.folder, tier, file)
        if self.only == MODELS:
            self._serve(self.progress.links or {})

    def _running_back(self) -> None:
        """Start what was running; stop everything if nothing was."""
        if not self.was_running and self.only != MODELS:
            self.engine.down()
        elif self.progress.resume:
            output.say("  Starting what was running before.")
            self.progress.resume(self.limit)

    def old_databases(self) -> list[str]:
        """Return the databases that this restore and earlier ones replaced."""
        if self.only == MODELS:
            return []
        with suppress(Refused):
            return [name for name in self.database.other_databases() if name.startswith(OLD)]
        return []


def _same(path: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(path, other, shallow=False)


def interrupted_restore(root: Path) -> Finding | None:
    """Describe a killed restore, unless a later change has put it right."""
    known = [item for item in journal.entries(root) if item.get("verb") in (VERB, "deploy.up")]
    if left := transaction.killed_change(root):
        known.append({**left, "outcome": "killed"})
    relevant = [item for item in known if item.get("outcome") in ("done", "killed")]
    last = relevant[-1] if relevant else {}
    killed = last.get("outcome") == "killed" and last.get("verb") == VERB
    return explain_killed_restore(last) if killed and "step" in last else None


def explain_killed_restore(left: Mapping[str, Any]) -> Finding:
    """Describe what a killed restore had done, and how to finish or undo it."""
    step, only, point = (
        left["step"],
        left.get("only") or "",
        left.get("source", restore_point.LATEST),
    )
    what = f"{VERB} of {point}"
    where = f"killed at step {STEPS[only].index(step) + 1} ({step})"
    again = f"finish: inv {VERB} {point}{f' --only {only}' if only else ''}"
    if only == MODELS:
        return Finding(what, "warn", f"{where}: the links to models may have moved", again)
    if step in HARMLESS:
        return Finding(what, "warn", f"{where}: the live data is unchanged", again)
    if step == "stop":
        detail = f"{where}: services may be stopped, the database is unchanged"
        return Finding(what, "fail", detail, f"{again}   undo: inv deploy.up")
    other = f"{left['old']} or {left['staged']}" if step == "swap" else left["old"]
    maybe = "may be" if step == "swap" else "is"
    detail = f"{where}: the restored database {maybe} live; the other one is kept as {other}"
    undo = f"   undo: inv {VERB} {left['safety']}" if "safety" in left else ""
    finish = again if step in ("swap", "models") else "finish: inv deploy.up"
    return Finding(what, "fail", detail, f"{finish}{undo}")
