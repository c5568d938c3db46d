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
"""Seconds of silence after which a comment is sent, so that no proxy closes the stream."""

LONGEST = 600.0
"""Seconds that one stream lasts; the client then reconnects and resumes."""

FIRST = "retry: 1000\n\n"


async def events(
    store: Store, number: str, seen: str, ending: threading.Event
) -> AsyncIterator[str]:
    """Yield the job whenever it changes, until it has ended.

    `seen` is the version that the client saw last, which is not sent again.
    """
    yield FIRST
    limit, sent = time.monotonic() + LONGEST, time.monotonic()
    while time.monotonic() < limit and not ending.is_set():
        told = None
        with suppress(RedisError):  # the client waits, as when nothing changes
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
    """Format one event; its JSON contains no line breaks."""
    data = JobView.of(told).model_dump_json(exclude_none=True)
    return f"id: {told['version']}\nevent: {told['state']}\ndata: {data}\n\n"


@contextmanager
def watched(ending: threading.Event) -> Iterator[None]:
    """Set the event on SIGTERM, because the server waits for open streams."""
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
