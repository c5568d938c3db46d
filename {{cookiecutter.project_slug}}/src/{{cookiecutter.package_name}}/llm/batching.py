"""Requests that arrive within a moment of each other, answered together."""

import asyncio
import logging

from .backends import Backend, MemberError, Prompt, Question

log = logging.getLogger(__name__)


class Batcher:
    """Collects questions for a back end: the first one waits `wait` seconds for others at most.

    While a back end has all the batches that it takes at the same time, the next one goes on
    growing. All of it runs in one event loop.
    """

    def __init__(self, backend: Backend, wait: float, size: int) -> None:
        self.backend, self.wait, self.size = backend, wait, size
        self._waiting: list[Question] = []
        self._free = asyncio.Semaphore(backend.batches)
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, prompt: Prompt) -> str:
        """Return what the model says; raises MemberError."""
        question = Question(prompt)
        self._waiting.append(question)
        if len(self._waiting) % self.size == 0:
            self._start(0)
        elif len(self._waiting) % self.size == 1:
            self._start(self.wait)
        return await question.answer

    def _start(self, wait: float) -> None:
        task = asyncio.ensure_future(self._send(wait))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _send(self, wait: float) -> None:
        """Send what has come together once the wait is over and the back end is free."""
        await asyncio.sleep(wait)
        async with self._free:
            asked, self._waiting = self._waiting[: self.size], self._waiting[self.size :]
            batch = [question for question in asked if not question.answer.done()]
            if not batch:
                return
            try:
                await self.backend.answer(batch)
            except Exception as error:  # whatever a back end's libraries raise: the member is out
                log.exception("a model failed")
                for question in batch:
                    question.fail(MemberError(f"failed: {type(error).__name__}"))

    async def close(self) -> None:
        """Give up what is under way."""
        for task in [*self._running]:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.backend.close()
