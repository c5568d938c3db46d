"""What a stage's files were made from: whether they have to be made again, and why.

After a stage has ended well, the digests of all that it depends on are kept, with those of what it
made. Time stamps play no part: a clone, a copy or `touch` changes them and nothing else.
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
"""How a source begins that only the stage itself can ask whether it changed."""
REASONS = {
    "code": "its code changed",
    "inputs": "its input changed",
    "packages": "the packages it runs with changed",
    "parameters": "its parameters changed",
    "variables": "a variable changed",
}


def file_digest(path: Path) -> str:
    """Digest the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Digest files, by their names from the root of the repository; others by their whole names."""
    return {
        str(path.relative_to(root) if path.is_relative_to(root) else path): file_digest(path)
        for path in sorted({*paths})
    }


def matching_files(root: Path, work: WorkItem, patterns: Iterable[str]) -> list[Path]:
    """Return the files that are there of what a stage says it reads or makes."""
    found = (path for pattern in patterns for path in root.glob(work.place(pattern)))
    return sorted({path for path in found if path.is_file()})


def missing_files(root: Path, work: WorkItem, patterns: Iterable[str]) -> list[str]:
    """Name what is not there; a pattern with a star may match nothing."""
    placed = (work.place(pattern) for pattern in patterns)
    return [name for name in placed if "*" not in name and not (root / name).is_file()]


@dataclass(frozen=True)
class StageSettings:
    """What a stage is run with, apart from files."""

    parameters: tuple[str, ...]
    """What was typed for it."""
    variables: Mapping[str, str]
    """What it is handed; of a secret only how it begins."""
    packages: Mapping[str, str]
    """What says which packages it runs with."""

    @property
    def reads_remote(self) -> bool:
        """Whether something is read that is not on this machine."""
        said = (*parameter_values(self.parameters), *self.variables.values())
        return any(word.startswith(REMOTE) for word in said)


def fingerprint_stage(
    here: Project, stage: PipelineStage, work: WorkItem, given: StageSettings
) -> dict[str, Any]:
    """Digest all that the files of a stage depend on.

    Raises:
        Refused: an input or a part of the code is not there.
    """
    root = here.root
    if missing := missing_files(root, work, stage.inputs):
        fix = f"inv pipeline.run --to {stage.name} {work_options(work)}"
        raise Refused(f"{missing[0]} is not there, which {stage.name} reads", fix)
    named = [root / word for word in parameter_values(given.parameters) if (root / word).is_file()]
    return {
        "inputs": file_digests(root, [*matching_files(root, work, stage.inputs), *named]),
        "code": file_digests(root, imports.program_files(root, here.source, stage.code)),
        "packages": dict(given.packages),
        "parameters": [*work.options, *given.parameters],
        "variables": dict(given.variables),
    }


def parameter_values(parameters: Iterable[str]) -> list[str]:
    """Return what parameters say, also after an equals sign."""
    return [word.partition("=")[2] if word.startswith("--") else word for word in parameters]


def work_options(work: WorkItem) -> str:
    """Write how a run is told what it is of."""
    return f"--series {work.series} --interval {work.interval}"


def fingerprint_path(here: Project, stage: PipelineStage, work: WorkItem) -> Path:
    """Return where is kept what a stage's files were made from."""
    return here.run / "pipeline" / work.name / f"{stage.name}.json"


def save_fingerprint(
    here: Project, stage: PipelineStage, work: WorkItem, what: Mapping[str, Any]
) -> None:
    """Keep what a stage's files were made from, and what they are.

    Raises:
        Refused: the stage ended well, and has not made what it says it makes.
    """
    if missing := missing_files(here.root, work, (*stage.outputs, *stage.appends)):
        raise Refused(f"it ended well and has not made {', '.join(missing)}")
    outputs = file_digests(here.root, matching_files(here.root, work, stage.outputs))
    path = fingerprint_path(here, stage, work)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace_file(path, json.dumps({**what, "outputs": outputs}, indent=2) + "\n")


def rerun_reason(
    here: Project, stage: PipelineStage, work: WorkItem, now: Mapping[str, Any]
) -> str:
    """Say why a stage has to run; nothing where its files are what they would be."""
    try:
        before = json.loads(fingerprint_path(here, stage, work).read_text(encoding="utf-8"))
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
    """Name the first of what differs, where there are names."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return ""
    names = sorted({*before, *now})
    return next((f": {name}" for name in names if before.get(name) != now.get(name)), "")
