"""Groups requests that arrive almost at the same time, so that they are answered together."""

import asyncio
import logging

from .backends import Backend, MemberError, Prompt, Question

log = logging.getLogger(__name__)


class Batcher:
    """Collects questions for a back end: the first one waits up to `wait` seconds for others.

    While the back end has all the batches it takes at a time, the next batch keeps growing. All of
    it runs in one event loop.
    """

    def __init__(self, backend: Backend, wait: float, size: int) -> None:
        self.backend, self.wait, self.size = backend, wait, size
        self._waiting: list[Question] = []
        self._free = asyncio.Semaphore(backend.batches)
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, prompt: Prompt) -> str:
        """Return the model's answer; raises MemberError."""
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
        """Send a batch once its wait is over and the back end is free."""
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
        """Cancel the batches in progress."""
        for task in [*self._running]:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.backend.close()
