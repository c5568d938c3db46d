"""Where training runs keep their checkpoints and logs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..settings import Settings
from ..shared.console import AppError

CHECKPOINT = "checkpoint.safetensors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Places:
    """The files of one training run; `folder` contains a folder for each run."""

    folder: Path
    run: str
    log: Path

    @classmethod
    def of(cls, settings: Settings, run: str) -> Self:
        """Return the places of a training run, next to the reports of the serving processes.

        Raises AppError if its name cannot be that of a folder.
        """
        if not NAME.fullmatch(run):
            raise AppError(f"{run!r} is not a valid name for a run: use letters, digits and -")
        beside = settings.serving_dir.parent
        return cls(beside / "rl", run, beside / "tensorboard" / run)

    @property
    def checkpoint(self) -> Path:
        return self.folder / self.run / CHECKPOINT


def newest(folder: Path) -> list[Path]:
    """Return the checkpoints of all runs, newest first."""
    found = folder.glob(f"*/{CHECKPOINT}")
    return sorted(found, key=lambda file: file.stat().st_mtime_ns, reverse=True)
