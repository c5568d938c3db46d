"""A job's changes as server-sent events (HTML Living Standard, section 9.2)."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from .schemas import JobView
from .store import FINAL, Store

log = logging.getLogger(__name__)

POLL = 0.25
"""Seconds between two looks at the job."""

SILENCE = 15.0
"""Seconds after which something is sent in any case, so that nobody between cuts the stream."""

LONGEST = 600.0
"""Seconds that one stream lasts; the reader then asks again, from where it was."""

FIRST = "retry: 1000\n\n"


async def events(
    store: Store, number: str, seen: str, ending: threading.Event
) -> AsyncIterator[str]:
    """Yield what the job is, whenever that changed, until it has ended.

    Whoever says which version was seen last is not told it again.
    """
    yield FIRST
    limit, sent = time.monotonic() + LONGEST, time.monotonic()
    while time.monotonic() < limit and not ending.is_set():
        told = None
        with suppress(RedisError):  # the reader waits as it does when nothing happens
            told = await run_in_threadpool(store.get, number)
            if told is None:
                return
        if told and told["version"] != seen:
            yield event(told)
            seen, sent = told["version"], time.monotonic()
        elif time.monotonic() - sent > SILENCE:
            yield ": nothing new\n\n"
            sent = time.monotonic()
        if told and told["state"] in FINAL:
            return
        await asyncio.sleep(POLL)


def event(told: dict[str, str]) -> str:
    """Write one event; JSON has no line breaks in it."""
    data = JobView.of(told).model_dump_json(exclude_none=True)
    return f"id: {told['version']}\nevent: {told['state']}\ndata: {data}\n\n"


@contextmanager
def watched(ending: threading.Event) -> Iterator[None]:
    """Set the event when the process is asked to end: a server waits for streams that go on."""
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: object) -> None:
        ending.set()
        if callable(before):
            before(number, frame)  # type: ignore[arg-type]  # the frame that was handed in

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
