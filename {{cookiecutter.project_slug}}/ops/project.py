"""Where the repository is and what it is called."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ops.errors import Refused

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Project:
    """The names that project.toml gives, and the places that follow from the root."""

    root: Path
    name: str
    slug: str
    package: str

    @property
    def source(self) -> Path:
        """The folder that goes on the application's PYTHONPATH."""
        return self.root / "src"

    @property
    def run(self) -> Path:
        """The folder for what a running stack keeps: logs, process ids, fingerprints."""
        return self.root / "run"

    @property
    def models(self) -> Path:
        """The folder of model artifacts."""
        return self.root / "models"

    @property
    def backups(self) -> Path:
        """The folder of restore points."""
        return self.root / "backups"

    @property
    def schema(self) -> Path:
        """The file that describes every variable."""
        return self.root / "env" / "schema.toml"

    def env_file(self, profile: str) -> Path:
        """Return the ignored file that holds a profile's values."""
        return self.root / f".env.{profile}"


def load(root: Path = ROOT) -> Project:
    """Read project.toml.

    Raises:
        Refused: the file is missing, is not TOML, or lacks a name.
    """
    path = root / "project.toml"
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return Project(root, names["name"], names["slug"], names["package"])
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        message = f"{path}: cannot read the project's names ({type(error).__name__}: {error})"
        raise Refused(message, "restore project.toml: git checkout project.toml") from error
