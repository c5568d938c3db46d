"""What a stage's files were made from: whether the stage has to run again, and why.

After a stage has succeeded, the digests of its dependencies and outputs are saved. Timestamps do
not matter: a clone, a copy or `touch` changes nothing else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.core import files
from slipway.core.errors import Refused
from slipway.pipeline import imports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from slipway.core.project import Project
    from slipway.pipeline.stages import PipelineStage, WorkItem

REMOTE = ("http://", "https://")
"""Prefixes of sources that only the stage itself can check for changes."""
REASONS = {
    "code": "its code changed",
    "inputs": "its input changed",
    "packages": "the packages it runs with changed",
    "parameters": "its parameters changed",
    "variables": "a variable changed",
}


def file_digest(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return the digests of files by their path in the repository, or else their absolute path."""
    return {
        str(path.relative_to(root) if path.is_relative_to(root) else path): file_digest(path)
        for path in sorted({*paths})
    }


def matching_files(root: Path, work: WorkItem, patterns: Iterable[str]) -> list[Path]:
    """Return the existing files that match patterns of a stage."""
    found = (path for pattern in patterns for path in root.glob(work.place(pattern)))
    return sorted({path for path in found if path.is_file()})


def missing_files(root: Path, work: WorkItem, patterns: Iterable[str]) -> list[str]:
    """Return the missing files; a pattern with a star may match nothing."""
    placed = (work.place(pattern) for pattern in patterns)
    return [name for name in placed if "*" not in name and not (root / name).is_file()]


@dataclass(frozen=True)
class StageSettings:
    """What a stage runs with, apart from files."""

    parameters: tuple[str, ...]
    """The arguments after `--`."""
    variables: Mapping[str, str]
    """Its variables; of a secret, only the scheme of its URL."""
    packages: Mapping[str, str]
    """What determines its packages: digests of lock files, or of an image."""

    @property
    def reads_remote(self) -> bool:
        """Whether it reads from a remote source."""
        said = (*parameter_values(self.parameters), *self.variables.values())
        return any(word.startswith(REMOTE) for word in said)


def fingerprint_stage(
    here: Project, stage: PipelineStage, work: WorkItem, given: StageSettings
) -> dict[str, Any]:
    """Return the digests of everything that the files of a stage depend on.

    Raises:
        Refused: an input or a part of the code is missing.
    """
    root = here.root
    if missing := missing_files(root, work, stage.inputs):
        fix = f"inv pipeline.run --to {stage.name} {work_options(work)}"
        raise Refused(f"{missing[0]} is missing, and {stage.name} reads it", fix)
    named = [root / word for word in parameter_values(given.parameters) if (root / word).is_file()]
    return {
        "inputs": file_digests(root, [*matching_files(root, work, stage.inputs), *named]),
        "code": file_digests(root, imports.program_files(root, here.source, stage.code)),
        "packages": dict(given.packages),
        "parameters": [*work.options, *given.parameters],
        "variables": dict(given.variables),
    }


def parameter_values(parameters: Iterable[str]) -> list[str]:
    """Return the values of parameters, including those after an equals sign."""
    return [word.partition("=")[2] if word.startswith("--") else word for word in parameters]


def work_options(work: WorkItem) -> str:
    """Return the options that name a series and an interval."""
    return f"--series {work.series} --interval {work.interval}"


def fingerprint_path(here: Project, stage: PipelineStage, work: WorkItem) -> Path:
    """Return the file with the fingerprint of a stage."""
    return here.run / "pipeline" / work.name / f"{stage.name}.json"


def save_fingerprint(
    here: Project, stage: PipelineStage, work: WorkItem, what: Mapping[str, Any]
) -> None:
    """Save the fingerprint of a stage with the digests of its outputs.

    Raises:
        Refused: the stage succeeded without making its outputs.
    """
    if missing := missing_files(here.root, work, (*stage.outputs, *stage.appends)):
        raise Refused(f"it succeeded without making {', '.join(missing)}")
    outputs = file_digests(here.root, matching_files(here.root, work, stage.outputs))
    path = fingerprint_path(here, stage, work)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace_file(path, json.dumps({**what, "outputs": outputs}, indent=2) + "\n")


def rerun_reason(
    here: Project, stage: PipelineStage, work: WorkItem, now: Mapping[str, Any]
) -> str:
    """Return why a stage has to run, in words; empty if its files are up to date."""
    try:
        before = files.read_json(fingerprint_path(here, stage, work))
    except (OSError, ValueError):
        return "not made yet"
    if missing := missing_files(here.root, work, (*stage.outputs, *stage.appends)):
        return f"{missing[0]} is gone"
    for key, words in REASONS.items():
        if before.get(key) != now[key]:
            return f"{words}{_which(before.get(key), now[key])}"
    outputs = file_digests(here.root, matching_files(here.root, work, stage.outputs))
    if before.get("outputs") != outputs:
        return f"its output was changed{_which(before.get('outputs'), outputs)}"
    return ""


def _which(before: object, now: object) -> str:
    """Name the first difference, if there are names."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return ""
    names = sorted({*before, *now})
    return next((f": {name}" for name in names if before.get(name) != now.get(name)), "")
