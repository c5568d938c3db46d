"""The dashboard in containers, as its readers have it: a page at the end of a websocket."""

from __future__ import annotations

import time
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from tests.engine.conftest import Stack

PAGE_SECONDS = 60


@contextmanager
def opened(stack: Stack) -> Iterator[ClientConnection]:
    """Open the page through the proxy, as a browser does; what it shows comes in messages."""
    address = f"{stack.api}/dashboard/_stcore/stream".replace("http", "ws", 1)
    ask = BackMsg()
    ask.rerun_script.query_string = ""
    with connect(address, subprotocols=["streamlit"]) as page:  # type: ignore[list-item]
        page.send(ask.SerializeToString())
        yield page


def shows(page: ClientConnection, text: str) -> bool:
    """Wait until a text is shown."""
    deadline = time.monotonic() + PAGE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        if text in str(page.recv(timeout=left)):
            return True
    return False


def drawn(page: ClientConnection) -> None:
    """Wait until nothing more comes: only then is the source watched."""
    with suppress(TimeoutError):
        while page.recv(timeout=2):
            pass


def test_on_a_server_it_is_reached_through_the_proxy(production: Stack) -> None:
    with urllib.request.urlopen(f"{production.api}/dashboard", timeout=20) as answer:  # noqa: S310 - a loopback address
        assert answer.url == f"{production.api}/dashboard/"
        assert "<title>Streamlit" in answer.read().decode()
    with opened(production) as page:
        assert shows(page, "tier1"), "what the API alone knows"


def test_in_dev_a_page_changes_when_its_source_is_saved(stack: Stack) -> None:
    (script,) = stack.root.glob("src/*/dashboard.py")
    before = script.read_text(encoding="utf-8")
    with opened(stack) as page:
        drawn(page)
        try:
            script.write_text(before + "\nst.write('one line more')\n", encoding="utf-8")
            assert shows(page, "one line more")
        finally:
            script.write_text(before, encoding="utf-8")
