"""What every rotation is: numbered steps, of which each failure is undone or explained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slipway.core import output
from slipway.core.errors import Refused
from slipway.core.transaction import Steps, uninterrupted
from slipway.secret.rotation import OVERLAP, VERB, interrupted_rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from slipway.config.schema import Variable
    from slipway.core.transaction import Change
    from slipway.stack.session import Session

BEHIND = "done before the interruption"


@dataclass(frozen=True)
class RotationRequest:
    """Which secret to rotate, and how."""

    session: Session
    variable: Variable
    overlap: timedelta = OVERLAP


@dataclass(frozen=True)
class RotationStep:
    """One step of a rotation."""

    name: str
    text: str
    """What it will do, for the plan."""
    action: Callable[[], str]
    """Does it, and returns what to print at its end."""
    doing: str = ""
    """What to print while it lasts."""
    changes: bool = False
    """Whether it changes something that has to be undone if a later step fails."""
    once: bool = False
    """Whether an interrupted rotation that is resumed has this step behind it."""


class SecretRotation(ABC):
    """One change of one secret; nothing is changed before `run`."""

    def __init__(self, request: RotationRequest) -> None:
        """Look up whether an earlier rotation of the secret was interrupted."""
        self.request = request
        self.session = request.session
        self.project, self.engine = request.session.project, request.session.engine
        self.name = request.variable.name
        self.interrupted = interrupted_rotation(
            self.project.root, self.name, request.session.profile
        )
        self.changed = False
        """Whether there is something to undo."""
        self.retired = False
        """Whether the previous value may be refused by now: then there is no way back."""

    @abstractmethod
    def plan_steps(self) -> Iterator[RotationStep]:
        """Yield the steps in order."""

    @abstractmethod
    def undo(self) -> None:
        """Bring the previous value back into use.

        Raises:
            Refused: that cannot be done.
            OSError: the same.
        """

    @property
    @abstractmethod
    def outcome(self) -> str:
        """What to print once the rotation is done."""

    @property
    def resumed(self) -> bool:
        """Whether an interrupted rotation left only its last steps to do."""
        return False

    def ask(self) -> None:  # noqa: B027 - most kinds leave it as it is
        """Ask a person for what only they know."""

    @cached_property
    def steps(self) -> tuple[RotationStep, ...]:
        """All steps, in order."""
        return tuple(self.plan_steps())

    def rows(self) -> list[dict[str, str]]:
        """Return the plan as a table."""
        return [
            {"step": f"{number} {step.name}", "what": self._shown_text(step)}
            for number, step in enumerate(self.steps, 1)
        ]

    def _shown_text(self, step: RotationStep) -> str:
        return BEHIND if self._is_behind(step) else step.text

    def _is_behind(self, step: RotationStep) -> bool:
        return self.resumed and step.once

    def run(self, change: Change) -> None:
        """Make all steps.

        Raises:
            Refused: one failed; the message says which value is in use now.
        """
        try:
            self.make_steps(change)
        except Refused as error:
            what = f"{error.what}\n  {self._undone(change)}"
            raise Refused(what, error.fix, error.code) from error
        except BaseException:
            output.say(f"  {self._undone(change)}")
            raise

    def make_steps(self, change: Change) -> None:
        """Make each step that is not behind us, and record that the secret is rotated.

        Raises:
            Refused: a step failed.
        """
        printer = Steps(change, [step.name for step in self.steps])
        for step in self.steps:
            if self._is_behind(step):
                printer.skip(step.name, BEHIND)
                continue
            changes = step.changes or self.resumed
            if changes or self.interrupted:  # stays on record if this one is refused too
                change.note(touched=True)
            self.changed |= changes
            with printer.run(step.name, step.doing) as made:
                made.detail = step.action()
        change.commit()

    def _undone(self, change: Change) -> str:
        """Undo the changes, unless the previous value may be refused; say which value is in use."""
        again = f"inv {VERB} {self.name} --profile {self.session.profile}"
        if self.retired or self.resumed:
            return f"The new value is in use. To finish, run: {again}"
        if not self.changed:
            return "Nothing was changed."
        with uninterrupted():
            try:
                change.note(step="undo")
                self.undo()
                change.note(undone=True)
            except (Refused, OSError) as error:
                what = getattr(error, "what", None) or str(error)
                return f"It could not be undone: {what}\n  Both values are accepted. Next: {again}"
        return "The previous value is still in use."


def count_of(count: int, noun: str) -> str:
    """Write how many there are of something."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def join_names(names: list[str]) -> str:
    """Write names one after another."""
    return ", ".join(names)
