"""How large a request's body may be."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Refuses a body that is too large when the application wants to read it, with 413.

    By its Content-Length before anything of it was read, and where there is none, or it is not
    true, as soon as more than the limit has come.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """Allow so many bytes."""
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on; its body is counted while it is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        known, come = int(declared) if declared.isdecimal() else 0, 0

        async def counted() -> Message:
            nonlocal come
            self.check(known)
            message = await receive()
            come += len(message.get("body", b""))
            self.check(come)
            return message

        await self.app(scope, counted, send)

    def check(self, size: int) -> None:
        """Raise the answer to a body of more bytes than are allowed."""
        if size > self.limit:
            raise HTTPException(413, f"a body may have {self.limit} bytes at most")
