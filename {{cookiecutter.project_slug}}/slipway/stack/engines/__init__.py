"""Which engine a stack runs on: the one asked for, else the one in use, else what can run here."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from slipway.config import schema
from slipway.core import shell
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine

NAMES = schema.ENGINES
GPU = "gpu"
"""Noted beside the engine's name where the stack has GPUs."""


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
    if engine_name(name, project) == "compose":
        from slipway.stack.engines.compose import ComposeEngine  # noqa: PLC0415 - speed: one engine

        reserve = GPU in _noted(project) if gpu is None else gpu
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
    if name not in ("", *NAMES):
        raise Refused(f"there is no engine {name!r}", f"choose one of: {', '.join(NAMES)}", code=2)
    return name or engine_in_use(project) or ("compose" if containers_can_run(project) else "local")


def engine_in_use(project: Project) -> str:
    """Return the engine that the stack was last brought up on; empty when it was taken down."""
    return next((word for word in _noted(project) if word in NAMES), "")


def profile_in_use(project: Project) -> str:
    """Return the profile that the stack was last brought up with; empty when it was taken down."""
    return next((word for word in _noted(project) if word in schema.PROFILES), "")


def note_stack(project: Project, name: str, profile: str, *, gpu: bool = False) -> None:
    """Remember how the stack was brought up, so that the next task asks the same engine."""
    _note(project).parent.mkdir(exist_ok=True)
    words = [name, profile, *([GPU] if gpu else [])]
    _note(project).write_text(" ".join(words), encoding="utf-8")


def forget_stack(project: Project) -> None:
    """Forget how the stack was brought up."""
    _note(project).unlink(missing_ok=True)


def _noted(project: Project) -> list[str]:
    path = _note(project)
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def _note(project: Project) -> Path:
    return project.run / "engine"


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
