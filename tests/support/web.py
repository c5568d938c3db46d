"""A web server that counts its requests, for tests of what sends them."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Request(NamedTuple):
    """What the server was sent."""

    method: str
    key: str
    body: bytes


class CountingHandler(http.server.BaseHTTPRequestHandler):
    """Answers 503 to the first two requests, and 200 from the third on."""

    requests: list[Request]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append(Request(self.command, self.headers.get("X-API-Key", ""), body))
        self.send_response(200 if len(self.requests) > 2 else 503)
        self.end_headers()
        self.wfile.write(b'{"id": %d}' % len(self.requests))

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def counting_server() -> Iterator[tuple[str, list[Request]]]:
    """Serve on a free port; give the address and what was sent to it."""
    requests: list[Request] = []
    handler = type("Handler", (CountingHandler,), {"requests": requests})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
        server.shutdown()
