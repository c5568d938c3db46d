"""Where the repository is and what it is called."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from slipway.core.errors import Refused

FILE = "project.toml"


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

    @property
    def stack_note_file(self) -> Path:
        """The file that says how the stack was last brought up."""
        return self.run / "engine"

    @property
    def stack_note(self) -> list[str]:
        """The words in it: an engine, a profile, and more; none when the stack was taken down."""
        path = self.stack_note_file
        return path.read_text(encoding="utf-8").split() if path.is_file() else []

    def env_file(self, profile: str) -> Path:
        """Return the ignored file that holds a profile's values."""
        return self.root / f".env.{profile}"

    def encrypted_env_file(self, profile: str) -> Path:
        """Return the file that git keeps of a profile's values, encrypted."""
        return self.root / "env" / f"{profile}.env.age"


def has_room(name: str) -> bool:
    """Say whether this repository has an optional part of slipway/, such as "backup"."""
    return (Path(__file__).parents[1] / name / "__init__.py").is_file()


def find_root(start: Path | None = None) -> Path:
    """Return the repository's folder: the nearest one with a project.toml, from here upwards.

    Raises:
        Refused: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder
    raise Refused(f"no {FILE} in {here}, nor in a folder above it", "cd to the repository")


def load(root: Path | None = None) -> Project:
    """Read project.toml, by default that of the repository this is run in.

    Raises:
        Refused: the file is missing, is not TOML, or lacks a name.
    """
    path = (root or find_root()) / FILE
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return Project(path.parent, names["name"], names["slug"], names["package"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{path}: cannot read the project's names ({type(error).__name__}: {error})"
        raise Refused(message, f"restore it: git checkout {FILE}") from error
