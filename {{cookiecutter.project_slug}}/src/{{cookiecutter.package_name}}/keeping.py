"""How well the data is kept, as the tasks that make restore points left word of it."""

import logging
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ValidationError

log = logging.getLogger(__name__)

FILE = "facts.json"
AHEAD = 60.0
"""Seconds by which a restore point may be newer than now: beyond that a clock was set back."""


class Drill(BaseModel):
    """The last restore that was tried out."""

    at: AwareDatetime
    seconds: float | None
    ok: bool


class Objectives(BaseModel):
    """What is promised."""

    recovery_point_seconds: float
    recovery_time_seconds: float


class Facts(BaseModel):
    """What is known; of what is not there, nothing."""

    newest_verified_at: AwareDatetime | None = None
    drill: Drill | None = None
    objectives: Objectives | None = None

    def overdue(self, now: float) -> bool:
        """Return whether more would be lost now than is promised, as far as is known."""
        if not (self.newest_verified_at and self.objectives):
            return True
        age = now - self.newest_verified_at.timestamp()
        return not -AHEAD <= age <= self.objectives.recovery_point_seconds


def read(folder: Path) -> Facts:
    """Return what is known now; a file that cannot be read says nothing."""
    try:
        return Facts.model_validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:  # nothing was ever changed here
        return Facts()
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be read: %s", folder / FILE, error)
        return Facts()
