"""The dashboard of a stack, as its readers have it: a page at the end of a websocket."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

    from tests.engine.conftest import Stack

PAGE_SECONDS = 60
FINISHED = "script_finished"


@contextmanager
def open_dashboard(stack: Stack) -> Iterator[ClientConnection]:
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
        if text.encode() in received(page, left):
            return True
    return False


def drawn(page: ClientConnection) -> None:
    """Wait until the page is whole and its source is watched.

    The first run on a busy machine pauses for seconds while it imports, so silence alone says
    nothing; what is saved before the end of it may be missed.
    """
    deadline = time.monotonic() + PAGE_SECONDS
    kind: str | None = ""
    while kind != FINISHED:
        message = received(page, deadline - time.monotonic())
        kind = ForwardMsg.FromString(message).WhichOneof("type")
    with suppress(TimeoutError):
        while received(page, 2):
            pass


def received(page: ClientConnection, seconds: float) -> bytes:
    """Return the next message, or raise TimeoutError."""
    message = page.recv(timeout=seconds, decode=False)
    assert isinstance(message, bytes)
    return message


def save(path: Path, text: str) -> None:
    """Save as editors do, in one step: a file half written is a change of its own."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
