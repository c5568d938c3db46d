"""What asks a model: one small interface, and the back ends that have it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .configuration import ChatMember, ProcessMember


class MemberError(Exception):
    """A member of the ensemble gives no answer: it is left out, and this says why."""

    def __init__(self, why: str, *, away: bool = False, slow: bool = False) -> None:
        super().__init__(why)
        self.away, self.slow = away, slow


@dataclass(frozen=True)
class Prompt:
    """What a model is asked: how to answer, and what about."""

    system: str
    user: str


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt, and where its answer is awaited; whoever waits no longer cancels that."""

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
    """Asks one model. All of it runs in one event loop."""

    batches: int
    """How many batches it takes at the same time."""

    async def answer(self, questions: Sequence[Question]) -> None:
        """Answer each of them, or say of each why not; raises nothing that is expected."""

    async def close(self) -> None:
        """Let go of what is open."""


def backend(member: ChatMember | ProcessMember) -> Backend:
    """Return what asks a member; nothing is connected or loaded yet.

    Raises ConfigurationError if a variable that it needs has no value.
    """
    if isinstance(member, ChatMember):
        from .chat import Chat  # noqa: PLC0415 - no HTTP where every model is in process

        return Chat(member)
    from .inprocess import InProcess  # noqa: PLC0415 - no torch where none is

    return InProcess(member)
