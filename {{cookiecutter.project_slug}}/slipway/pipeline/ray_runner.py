"""Stages on Ray: on this machine, or on the machines of a cluster, which share no folder with it.

A stage is sent its files and returns what it made, so that a run on a cluster leaves the same files
here as a local run.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from slipway.core import files
from slipway.core.errors import Refused
from slipway.core.redaction import masked
from slipway.core.transaction import kept_handlers
from slipway.pipeline import fingerprint, ray_remote
from slipway.pipeline.runners import ONE_THREAD, POLL, RUN, ProcessRunner, StageStopped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slipway.core.project import Project
    from slipway.pipeline.runners import StageExecution
    from slipway.pipeline.stages import PipelineStage, WorkItem

HERE = "local"
"""The address that makes Ray start a cluster of one machine."""
MEMORY = 128 * 1024**2
"""Bytes for objects in transit between processes of this machine."""


def import_ray() -> Any:  # noqa: ANN401 - it carries no types that would be there without it
    """Import Ray, which only this engine needs.

    Raises:
        Refused: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # It would start the tools of an accelerator for each of its processes.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415 - optional: only --engine ray needs it
    except ImportError as error:
        fix = "pip install -r services/pipeline/ray.txt"
        raise Refused(f"--engine ray needs Ray, which is not installed: {error}", fix) from error
    return ray


def _belongs(path: Path) -> bool:
    """Tell whether a file is sent along: all code of the application, which may inspect itself."""
    return path.is_file() and not {"tests", "__pycache__"} & {*path.parts}


class RayRunner:
    """Runs stages as tasks of Ray."""

    name = "ray"

    def __init__(
        self, project: Project, values: Mapping[str, str], run: str, address: str = ""
    ) -> None:
        """Take the project, a profile's variables, and where the cluster is; here by default.

        Raises:
            Refused: Ray is not installed, or no cluster answers.
        """
        self.ray = import_ray()
        self.project = project
        self.here = ProcessRunner(project, values, run)
        asked = address or os.environ.get("RAY_ADDRESS", "") or HERE
        options: dict[str, Any] = {"address": asked, "log_to_driver": False}
        options |= {"logging_level": "ERROR", "configure_logging": False}
        if asked == HERE:
            options |= {"num_cpus": self.here.lanes, "include_dashboard": False}
            options |= {"object_store_memory": MEMORY}
        try:
            with kept_handlers():  # Ray's own end this process at once
                self.ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            fix = "ray status --address ADDRESS, or leave out --address and RAY_ADDRESS"
            raise Refused(f"Ray does not start at {asked}: {said}", fix) from error
        self.ray.cloudpickle.register_pickle_by_value(ray_remote)
        self.task = self.ray.remote(num_cpus=1, max_retries=2)(ray_remote.run_remote_stage)
        self.code: Any = None

    @property
    def lanes(self) -> int:
        """How many stages the cluster runs at the same time."""
        return max(int(self.ray.cluster_resources().get("CPU", 1)), 1)

    def prepare(self, chosen: Sequence[PipelineStage]) -> None:
        """Put the code of the stages into the object store, for every machine."""
        self.here.prepare(chosen)
        root = self.project.root
        paths = [path for path in self.project.source.rglob("*") if _belongs(path)]
        self.code = self.ray.put({str(path.relative_to(root)): path.read_bytes() for path in paths})

    def stage_settings(
        self, stage: PipelineStage, parameters: Sequence[str]
    ) -> fingerprint.StageSettings:
        """Return what a stage runs with, apart from files: the same as on this machine."""
        return self.here.stage_settings(stage, parameters)

    def run(
        self,
        stage: PipelineStage,
        work: WorkItem,
        parameters: Sequence[str],
        execution: StageExecution,
    ) -> None:
        """Run a stage to completion, and write what it made into the repository."""
        root = self.project.root
        reads = (*stage.inputs, *stage.outputs, *stage.appends)
        named = [
            root / word
            for word in fingerprint.parameter_values(parameters)
            if (root / word).is_file()
        ]
        if outside := [path for path in named if not path.is_relative_to(root)]:
            fix = "copy it into the repository, whose files are sent to the cluster"
            raise Refused(f"{outside[0]} is not in this repository", fix)
        paths = [*fingerprint.matching_files(root, work, reads), *named]
        given = {str(path.relative_to(root)): path.read_bytes() for path in paths}
        wanted = [work.place(pattern) for pattern in (*stage.outputs, *stage.appends)]
        command = [*stage.command, *work.options, *parameters]
        env = self.here.service_envs[stage.name]
        hidden = {name: value for name, value in env.secret.items() if value}
        variables = {**env.plain, **hidden, **ONE_THREAD, RUN: ""}
        send = partial(self.task.remote, command, self.code, given)
        code, said, found = self._awaited(send(wanted, variables, execution.limit), execution)
        execution.log.write_text(masked(said.decode(errors="replace")), encoding="utf-8")
        if code is None:
            raise Refused(f"stopped at the time limit of {execution.limit:.0f} s")
        if code:
            raise Refused(f"ended with exit code {code}")
        for name, content in found.items():
            path = root / name
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                with files.replacing_file(path) as temporary:
                    temporary.write_bytes(content)

    def _awaited(
        self,
        task: Any,  # noqa: ANN401 - Ray's
        execution: StageExecution,
    ) -> tuple[int | None, bytes, dict[str, bytes]]:
        """Wait for a task; cancel it if the run is stopped."""
        while not self.ray.wait([task], timeout=POLL)[0]:
            if execution.stop.is_set():
                self.ray.cancel(task)
                self.ray.wait([task], timeout=10 * POLL)
                raise StageStopped("stopped")
        try:
            result: tuple[int | None, bytes, dict[str, bytes]] = self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            said = str(error).strip().rpartition("\n")[2]
            raise Refused(f"Ray could not run it: {said}", "ray status") from error
        return result

    def close(self) -> None:
        """Stop a local cluster, or disconnect from a remote one."""
        self.ray.shutdown()
