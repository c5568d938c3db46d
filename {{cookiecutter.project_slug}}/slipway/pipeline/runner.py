"""What can run a stage: a process, a container, a task on another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from slipway.pipeline.fingerprint import Given
    from slipway.pipeline.stages import Stage, Work


class Stopped(Refused):
    """A stage was told to end before it did."""


class Launcher(Protocol):
    """What runs a stage."""

    name: str

    @property
    def lanes(self) -> int:
        """How many stages it can run at the same time."""

    def prepare(self, chosen: Sequence[Stage]) -> None:
        """Get ready what the stages need, and end what a killed run left."""

    def given(self, stage: Stage, parameters: Sequence[str]) -> Given:
        """Return what a stage is run with, apart from files."""

    def run(self, stage: Stage, work: Work, parameters: Sequence[str], how: How) -> None:
        """Run a stage to its end.

        Raises:
            Stopped: it was told to end.
            Refused: it failed, or took too long.
        """

    def close(self) -> None:
        """Let go of what it holds."""


class How(Protocol):
    """How a stage is run."""

    @property
    def log(self) -> Path:
        """Where what it prints goes."""

    @property
    def stop(self) -> Event:
        """Tells that it is to end."""

    @property
    def limit(self) -> float:
        """Seconds that it may take."""
