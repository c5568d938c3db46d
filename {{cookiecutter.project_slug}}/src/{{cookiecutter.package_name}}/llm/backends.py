"""The interface to a language model, and its back ends."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .configuration import ChatMember, ProcessMember


class MemberError(Exception):
    """A member of the ensemble gave no answer and is left out; the message says why."""

    def __init__(self, why: str, *, away: bool = False, slow: bool = False) -> None:
        super().__init__(why)
        self.away, self.slow = away, slow


@dataclass(frozen=True)
class Prompt:
    """The instructions and the question for a model."""

    system: str
    user: str


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt and the future of its answer, which is cancelled once nobody waits for it."""

    prompt: Prompt
    answer: asyncio.Future[str] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def give(self, text: str) -> None:
        if not self.answer.done():
            self.answer.set_result(text)

    def fail(self, error: MemberError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Backend(Protocol):
    """A client of one model, all in one event loop."""

    batches: int
    """How many batches it takes at a time."""

    async def answer(self, questions: Sequence[Question]) -> None:
        """Give each question an answer or an error; raise no expected error."""

    async def close(self) -> None:
        """Release connections and models."""


def backend(member: ChatMember | ProcessMember) -> Backend:
    """Return the back end of a member; nothing is connected or loaded yet.

    Raises ConfigurationError if a variable that it needs has no value.
    """
    if isinstance(member, ChatMember):
        from .chat import Chat  # noqa: PLC0415 - no HTTP where every model is in process

        return Chat(member)
    from .inprocess import InProcess  # noqa: PLC0415 - no torch where none is

    return InProcess(member)
