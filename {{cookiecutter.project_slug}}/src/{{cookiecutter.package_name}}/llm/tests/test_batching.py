import asyncio
from collections.abc import Sequence

import pytest

from ..backends import MemberError, Prompt, Question
from ..batching import Batcher


class Echo:
    """Answers with the prompt, notes the batches; a prompt `wrong` fails, `bug` breaks it."""

    def __init__(self, seconds: float = 0.0, batches: int = 1) -> None:
        self.seconds, self.batches = seconds, batches
        self.seen: list[list[str]] = []
        self.closed = False

    async def answer(self, questions: Sequence[Question]) -> None:
        self.seen.append([question.prompt.user for question in questions])
        await asyncio.sleep(self.seconds)
        for question in questions:
            if question.prompt.user == "bug":
                raise KeyError("a bug")
            if question.prompt.user == "wrong":
                question.fail(MemberError("wrong"))
            else:
                question.give(question.prompt.user)

    async def close(self) -> None:
        self.closed = True


def ask(batcher: Batcher, text: str) -> asyncio.Task[str]:
    return asyncio.ensure_future(batcher.ask(Prompt("", text)))


def test_what_arrives_within_the_wait_goes_together() -> None:
    async def run() -> None:
        echo = Echo()
        batcher = Batcher(echo, 0.05, 8)
        first = ask(batcher, "1")
        await asyncio.sleep(0.01)
        asked = [first, ask(batcher, "2"), ask(batcher, "3")]
        assert await asyncio.gather(*asked) == ["1", "2", "3"]
        assert await ask(batcher, "4") == "4"
        assert echo.seen == [["1", "2", "3"], ["4"]]

    asyncio.run(run())


def test_a_full_batch_waits_for_nobody() -> None:
    async def run() -> None:
        echo = Echo()
        batcher = Batcher(echo, 30, 2)
        asked = [ask(batcher, str(number)) for number in range(4)]
        assert await asyncio.wait_for(asyncio.gather(*asked), 5) == ["0", "1", "2", "3"]
        assert echo.seen == [["0", "1"], ["2", "3"]]
        await batcher.close()
        assert echo.closed

    asyncio.run(run())


def test_a_batch_grows_while_the_back_end_is_busy() -> None:
    async def run() -> None:
        echo = Echo(seconds=0.1)
        batcher = Batcher(echo, 0.0, 8)
        first = ask(batcher, "1")
        await asyncio.sleep(0.02)
        later = []
        for number in "234":
            later.append(ask(batcher, number))
            await asyncio.sleep(0.01)
        await asyncio.gather(first, *later)
        assert echo.seen == [["1"], ["2", "3", "4"]]

    asyncio.run(run())


def test_who_waits_no_longer_is_not_asked_for() -> None:
    async def run() -> None:
        echo = Echo()
        batcher = Batcher(echo, 0.05, 8)
        gone, stays = ask(batcher, "gone"), ask(batcher, "stays")
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == "stays"
        assert echo.seen == [["stays"]]

    asyncio.run(run())


def test_one_failure_is_not_that_of_its_batch() -> None:
    async def run() -> None:
        batcher = Batcher(Echo(), 0.01, 8)
        given = await asyncio.gather(
            ask(batcher, "right"), ask(batcher, "wrong"), return_exceptions=True
        )
        assert given[0] == "right"
        assert isinstance(given[1], MemberError)

    asyncio.run(run())


def test_a_bug_of_a_back_end_leaves_the_member_out() -> None:
    async def run() -> None:
        batcher = Batcher(Echo(), 0.0, 8)
        with pytest.raises(MemberError, match="failed: KeyError"):
            await ask(batcher, "bug")
        assert await ask(batcher, "next") == "next"

    asyncio.run(run())


def test_nobody_is_forgotten_however_many_ask() -> None:
    async def run() -> None:
        echo = Echo(seconds=0.001, batches=3)
        batcher = Batcher(echo, 0.002, 4)
        asked = []
        for number in range(203):
            asked.append(ask(batcher, str(number)))
            if number % 7 == 0:
                await asyncio.sleep(0.001)
        answers = await asyncio.wait_for(asyncio.gather(*asked), 10)
        assert answers == [str(number) for number in range(203)]
        assert max(map(len, echo.seen)) <= 4

    asyncio.run(run())
