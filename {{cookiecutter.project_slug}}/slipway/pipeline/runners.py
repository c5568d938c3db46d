"""Runs a stage of a series to completion: as a process, or in a container."""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import psutil

from slipway.config import service_env
from slipway.config.schema import COMPOSE, LOCAL
from slipway.core import output, shell
from slipway.core.errors import Refused
from slipway.core.files import parse_json
from slipway.pipeline import fingerprint
from slipway.pipeline.stages import output_folders
from slipway.stack import processes
from slipway.stack.build import images
from slipway.stack.build.compose_cli import profile_composition
from slipway.stack.engines import permissions
from slipway.stack.engines.local import process_environment, with_this_python
from slipway.stack.engines.permissions import application_group, application_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event

    from slipway.core.project import Project
    from slipway.pipeline.stages import PipelineStage, WorkItem

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Gives the same sums on any machine; several series use several cores."""
RUN = "SLIPWAY_PIPELINE"
"""The variable that marks every process of a stage, with the id of the run."""
POLL = 0.2
"""Seconds between two checks whether a stage has to stop."""
PATIENCE = 5.0
"""Seconds that a stage may take to stop."""
BUILD_LIMIT = 3600.0
READ_LIMIT = 60.0


@dataclass(frozen=True)
class StageExecution:
    """One execution of a stage: its log, what stops it, and its time limit."""

    log: Path
    stop: Event
    """Set when the stage has to stop."""
    limit: float
    """Seconds that the stage may take."""


class StageStopped(Refused):
    """A stage was stopped before it completed."""


class StageRunner(Protocol):
    """Runs stages on an engine."""

    name: str

    @property
    def lanes(self) -> int:
        """How many stages it can run at the same time."""

    def prepare(self, chosen: Sequence[PipelineStage]) -> None:
        """Prepare what the stages need, and stop what a killed run left behind."""

    def stage_settings(
        self, stage: PipelineStage, parameters: Sequence[str]
    ) -> fingerprint.StageSettings:
        """Return what a stage runs with, apart from files."""

    def run(
        self,
        stage: PipelineStage,
        work: WorkItem,
        parameters: Sequence[str],
        execution: StageExecution,
    ) -> None:
        """Run a stage to completion.

        Raises:
            StageStopped: it was told to stop.
            Refused: it failed, or took too long.
        """

    def close(self) -> None:
        """Release its resources."""


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_watched(
    command: Sequence[str], execution: StageExecution, *, cwd: Path, env: Mapping[str, str]
) -> None:
    """Run a command with its output in a log; none of its child processes outlives it.

    Raises:
        StageStopped: it was told to stop.
        Refused: it failed, or took too long.
    """
    deadline = time.monotonic() + execution.limit
    with (
        execution.log.open("ab") as log,
        shell.start(command, cwd=cwd, env=env, log=log, alone=True) as process,
    ):
        try:
            while (
                process.poll() is None
                and not execution.stop.is_set()
                and time.monotonic() < deadline
            ):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL)
            code = process.poll()
            if code is None:
                _ask_to_end(process)
        finally:
            with suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)
    if code is None:
        raise StageStopped("stopped") if execution.stop.is_set() else _too_slow(execution)
    if code:
        raise Refused(f"ended with exit code {code}")


def _ask_to_end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)


def _too_slow(execution: StageExecution) -> Refused:
    return Refused(f"stopped at the time limit of {execution.limit:.0f} s")


class ProcessRunner:
    """Runs stages as processes on this machine."""

    name = LOCAL

    def __init__(self, project: Project, values: Mapping[str, str], run: str) -> None:
        """Take the project, a profile's variables and the id of the run."""
        self.project = project
        self.lanes = available_cores()
        self.service_envs = service_env.plan_service_envs(project, values, self.name)
        own = {processes.MARK: str(project.root), RUN: run}
        self.environment = {**process_environment(project, values), **ONE_THREAD, **own}

    def prepare(self, chosen: Sequence[PipelineStage]) -> None:
        """Write the secrets of the stages, and stop what a killed run left behind."""
        if left := [
            item for item in processes.marked_processes(self.project.root) if _of_a_run(item)
        ]:
            output.say(f"  Stopping processes of a killed run: {len(left)}")
            processes.end_processes(left, PATIENCE)
        for env in (self.service_envs[stage.name] for stage in chosen):
            if env.secret:
                service_env.replace_secrets(self.project, env.service, env.secret)

    def stage_settings(
        self, stage: PipelineStage, parameters: Sequence[str]
    ) -> fingerprint.StageSettings:
        """Return what a stage runs with, apart from files."""
        locks = [self.project.root / name for name in stage.locks]
        packages = fingerprint.file_digests(
            self.project.root, [path for path in locks if path.is_file()]
        )
        python = {"python": platform.python_version()}
        variables = fingerprint_variables(self.service_envs[stage.name])
        return fingerprint.StageSettings(tuple(parameters), variables, packages | python)

    def run(
        self,
        stage: PipelineStage,
        work: WorkItem,
        parameters: Sequence[str],
        execution: StageExecution,
    ) -> None:
        """Run a stage to completion."""
        command = [*with_this_python(stage.command), *work.options, *parameters]
        env = self.environment | self.service_envs[stage.name].named(self.name)
        run_watched(command, execution, cwd=self.project.root, env=env)

    def close(self) -> None:
        """Do nothing: there are no resources to release."""


def _of_a_run(process: psutil.Process) -> bool:
    try:
        return RUN in process.environ()
    except psutil.Error:
        return False


def fingerprint_variables(env: service_env.ServiceEnv) -> dict[str, str]:
    """Return the variables that a stage's files depend on; of a secret, only its URL scheme."""
    hidden = {name: value.partition("://") for name, value in env.secret.items() if value}
    return {**env.plain, **{name: f"{head}{sign}" for name, (head, sign, _) in hidden.items()}}


class ContainerRunner:
    """Runs stages in containers, on the engine that `docker` uses."""

    name = COMPOSE

    def __init__(self, project: Project, values: Mapping[str, str], run: str) -> None:
        """Take the project, a profile's variables and the id of the run."""
        self.project = project
        self.run_id = run
        self.lanes = available_cores()
        self.values = values
        self.service_envs = service_env.plan_service_envs(project, values, self.name)
        self.composition = profile_composition(project.root, project.slug, values)
        user = {"APP_UID": str(application_user()), "APP_GID": str(application_group())}
        source = images.image_origin(project.root, values.get("VERSION", ""))
        self.environment = {**source.variables, **values, **user}
        self.layers: dict[str, str] = {}

    @property
    def mark(self) -> str:
        """The prefix of the names of this project's stage containers."""
        root = str(self.project.root.resolve())  # distinguishes the stages of another clone
        digest = hashlib.sha256(root.encode()).hexdigest()[:8]
        return f"{self.composition.name}-{digest}-stage-"

    def prepare(self, chosen: Sequence[PipelineStage]) -> None:
        """Get the images, write the variables, and remove what a killed run left behind."""
        self._remove(f"^{self.mark}")
        permissions.share_folders(self.project.root, output_folders(self.project.root))
        permissions.make_mounts_readable(self.project.root, self.composition.files[0])
        service_env.add_service_envs(
            self.project, [self.service_envs[stage.name] for stage in chosen], self.name
        )
        pulled = images.pulled_from_registry(self.environment)
        verb, doing = ("pull", "pulling") if pulled else ("build", "building what changed")
        services = self._services()
        first = {services[stage.name]["image"]: stage.name for stage in reversed(chosen)}
        with output.step("images", doing):
            words = self.composition.command("--progress", "plain", verb, *sorted(first.values()))
            self._logged(words)
        for stage in chosen:
            self.layers[stage.name] = self._layers(services[stage.name]["image"])

    def stage_settings(
        self, stage: PipelineStage, parameters: Sequence[str]
    ) -> fingerprint.StageSettings:
        """Return what a stage runs with, apart from files."""
        variables = fingerprint_variables(self.service_envs[stage.name])
        packages = {"image": self.layers[stage.name]}
        return fingerprint.StageSettings(tuple(parameters), variables, packages)

    def run(
        self,
        stage: PipelineStage,
        work: WorkItem,
        parameters: Sequence[str],
        execution: StageExecution,
    ) -> None:
        """Run a stage to completion; its container is removed in any case."""
        name = f"{self.mark}{self.run_id.lower()}-{work.name}-{stage.name}".replace("_", "-")
        options = ["--rm", "--no-TTY", "--no-deps", "--name", name]
        if self.service_envs[stage.name].secret:
            held = self.project.root / service_env.FOLDER / stage.name
            options.append(f"--volume={held}:{service_env.INSIDE}/{stage.name}:ro")
        words = ["run", *options, stage.name, *work.options, *parameters]
        command = self.composition.command(*words)
        ended = False
        try:
            run_watched(command, execution, cwd=self.project.root, env=self.environment)
            ended = True
        finally:
            if not ended:
                self._remove(f"^{name}$")

    def close(self) -> None:
        """Do nothing: there are no resources to release."""

    def _services(self) -> dict[str, dict[str, str]]:
        """Return the services as resolved by compose, including those in a compose profile."""
        command = self.composition.command("--profile", "*", "config", "--format", "json")
        said = shell.read(command, cwd=self.project.root, env=self.environment)
        services: dict[str, dict[str, str]] = parse_json(said)["services"]
        return services

    def _layers(self, image: str) -> str:
        """Return a digest of an image's layers; its labels, which name the commit, do not count."""
        command = ["docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", image]
        said = shell.read(command, cwd=self.project.root, timeout=READ_LIMIT)
        return str(hashlib.sha256(said.encode()).hexdigest())

    def _remove(self, name: str) -> None:
        """Remove the containers whose name matches a pattern."""
        asked = ["docker", "ps", "--all", "--quiet", "--filter", f"name={name}"]
        found = shell.read(asked, cwd=self.project.root, timeout=READ_LIMIT).split()
        if found:
            command = ["docker", "rm", "--force", *found]
            shell.attempt(command, cwd=self.project.root, timeout=READ_LIMIT)

    def _logged(self, command: Sequence[str]) -> None:
        path = self.project.run / "pipeline" / "images.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("wb") as log:
                root, env = self.project.root, self.environment
                shell.run(command, cwd=root, env=env, log=log, timeout=BUILD_LIMIT)
        except Refused as error:
            raise Refused(f"{error.what}\n{output.last_lines(path)}", code=error.code) from error
