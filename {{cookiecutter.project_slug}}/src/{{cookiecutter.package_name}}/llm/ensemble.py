"""Asks several language models at the same time; those that fail or are slow are left out."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from .backends import Backend, MemberError, Prompt, backend
from .batching import Batcher
from .configuration import ChatMember, Ensemble, Member, ProcessMember

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0

State = Literal["answered", "failed", "slow", "left alone"]


@dataclass(frozen=True)
class Answer:
    """The answer of one member, or why there is none."""

    member: str
    weight: float
    state: State
    seconds: float
    text: str = ""
    why: str = ""
    """Why there is no text."""


class Seat:
    """One member, and until when it is skipped. All of it runs in one event loop."""

    def __init__(self, name: str, member: Member, batcher: Batcher, rest: float) -> None:
        self.name, self.member, self.batcher, self.rest = name, member, batcher, rest
        self._until, self._why = 0.0, ""

    async def ask(self, prompt: Prompt) -> Answer:
        """Return its answer, or why it gave none in time; raise no expected error."""
        start = time.monotonic()
        if start < self._until:
            return self._answer("left alone", start, why=f"for {self.rest:g} s after: {self._why}")
        limit = self.member.timeout_seconds
        try:
            text = await asyncio.wait_for(self.batcher.ask(prompt), limit + self.batcher.wait)
        except TimeoutError:
            return self._out(start, MemberError(f"no answer within {limit:g} s", slow=True))
        except MemberError as error:
            return self._out(start, error)
        return self._answer("answered", start, text=text)

    def _out(self, start: float, error: MemberError) -> Answer:
        if error.away or error.slow:
            self._until, self._why = time.monotonic() + self.rest, str(error)
        log.warning("the language model %s is skipped: %s", self.name, error)
        return self._answer("slow" if error.slow else "failed", start, why=str(error))

    def _answer(self, state: State, start: float, text: str = "", why: str = "") -> Answer:
        seconds = round(time.monotonic() - start, 3)
        return Answer(self.name, self.member.weight, state, seconds, text, why)


class Panel:
    """The members, in an event loop of their own; safe to use from any thread."""

    def __init__(
        self,
        ensemble: Ensemble,
        make: Callable[[ChatMember | ProcessMember], Backend] = backend,
    ) -> None:
        """Open each member's back end.

        Raises ConfigurationError if a variable that one needs has no value.
        """
        self.seats = [
            Seat(
                name,
                member,
                Batcher(make(member), ensemble.batch_wait_ms / 1000, ensemble.batch_size_max),
                ensemble.rest_seconds,
            )
            for name, member in ensemble.members.items()
        ]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm", daemon=True)
        self._thread.start()

    def ask(self, prompt: Prompt) -> list[Future[Answer]]:
        """Ask every member; to cancel a future withdraws its question."""
        return [
            asyncio.run_coroutine_threadsafe(seat.ask(prompt), self._loop) for seat in self.seats
        ]

    def close(self) -> None:
        """Close everything; pending questions get no answer."""
        for seat in self.seats:
            closed = asyncio.run_coroutine_threadsafe(seat.batcher.close(), self._loop)
            closed.result(CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self._loop.close()


def supports(answers: Iterable[Answer], score: Callable[[Answer], float]) -> dict[str, float]:
    """Return the support for each text: the weight times the score of all members that gave it."""
    found: dict[str, float] = {}
    for one in answers:
        if one.state == "answered":
            found[one.text] = found.get(one.text, 0.0) + one.weight * score(one)
    return found


def best(answers: Iterable[Answer], score: Callable[[Answer], float]) -> str | None:
    """Return the text with the most support, the first of equals; None if no text has any."""
    found = {text: weight for text, weight in supports(answers, score).items() if weight > 0}
    return max(found, key=found.__getitem__, default=None)
