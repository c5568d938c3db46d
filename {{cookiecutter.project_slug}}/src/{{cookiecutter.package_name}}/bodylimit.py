"""The limit of a request's body."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEFT_BYTES, LEFT_SECONDS = 2**24, 2.0
"""How much of a body that is refused is still taken, and for how long. Nothing is kept of it; but a
proxy that is cut off while it sends takes that for a failure, and never reads the answer."""


class BodyLimit:
    """Middleware that refuses a body that is too large with 413, when it is read.

    By Content-Length before anything is read; if that is missing or not
    true, as soon as more than the limit has arrived.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        known, come = int(declared) if declared.isdecimal() else 0, 0

        async def counted() -> Message:
            nonlocal come
            if known <= self.limit:
                message = await receive()
                come += len(message.get("body", b""))
                if come <= self.limit:
                    return message
            if known > self.limit or message.get("more_body"):
                await drop(receive)
            raise HTTPException(413, f"the body may have at most {self.limit} bytes")

        await self.app(scope, counted, send)


async def drop(receive: Receive) -> None:
    """Discard the rest of a body, within bounds."""
    dropped = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LEFT_SECONDS):
            while dropped < LEFT_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
