"""Which engine a stack runs on: the one asked for, else the one in use, else what can run here."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from slipway.config.schema import COMPOSE, ENGINES, LOCAL
from slipway.config.values import engine_in_use
from slipway.core import shell
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine

GPU = "gpu"
"""Noted beside the engine's name if the stack has GPUs."""


def choose_engine(
    name: str,
    project: Project,
    values: Mapping[str, str],
    *,
    gpu: bool | None = None,
    stack_name: str = "",
) -> Engine:
    """Return the engine that `named` names, over a profile's variables.

    GPUs are reserved if `gpu` says so, else as when the stack was brought up. Containers go by
    `stack_name` where one is given, whatever the environment says.

    Raises:
        Refused: there is no engine of that name.
    """
    if engine_name(name, project) == COMPOSE:
        from slipway.stack.engines.compose import ComposeEngine  # noqa: PLC0415 - speed: one engine

        reserve = GPU in project.stack_note if gpu is None else gpu
        return ComposeEngine(project, values, gpu=reserve, name=stack_name)
    from slipway.stack.engines.local import LocalEngine  # noqa: PLC0415 - speed: one engine

    return LocalEngine(project, values)


def engine_name(asked: str, project: Project) -> str:
    """Name the engine: asked for by option or SLIPWAY_ENGINE, else the one in use.

    Where nothing is in use, it is containers if they can run here, else processes.

    Raises:
        Refused: there is no engine of that name.
    """
    name = asked or os.environ.get("SLIPWAY_ENGINE", "")
    if name not in ("", *ENGINES):
        raise Refused(
            f"there is no engine {name!r}", f"choose one of: {', '.join(ENGINES)}", code=2
        )
    return name or engine_in_use(project) or (COMPOSE if containers_can_run(project) else LOCAL)


def note_stack(project: Project, name: str, profile: str, *, gpu: bool = False) -> None:
    """Remember how the stack was brought up, so that the next task asks the same engine."""
    project.run.mkdir(exist_ok=True)
    words = [name, profile, *([GPU] if gpu else [])]
    project.stack_note_file.write_text(" ".join(words), encoding="utf-8")


def forget_stack(project: Project) -> None:
    """Forget how the stack was brought up."""
    project.stack_note_file.unlink(missing_ok=True)


def containers_can_run(project: Project) -> bool:
    """Say whether a container engine that has compose answers here."""
    if not shutil.which("docker"):
        return False
    try:
        for question in (["docker", "info"], ["docker", "compose", "version"]):
            shell.read(question, cwd=project.root, timeout=10)
    except Refused:
        return False
    return True
