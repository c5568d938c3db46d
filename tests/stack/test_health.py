from __future__ import annotations

import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from slipway.stack import health
from tests.support.scratch import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200 if self.path == "/well" else 503)

    def answer(self, code: int) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(b"reason")

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{made.server_port}"
        made.shutdown()


def test_a_file_is_well_while_it_is_touched(tmp_path: Path) -> None:
    beat = tmp_path / "a beat's 100%"
    assert health.probe_health(f"file://{beat}") == f"{beat}: No such file or directory"
    beat.touch()
    assert health.probe_health(f"file://{beat}") == ""
    os.utime(beat, (0, 0))
    assert "was last touched" in health.probe_health(f"file://{beat}")


@pytest.mark.parametrize("seconds", [-health.BEAT - 5, health.BEAT + 5])
def test_a_file_is_ill_when_it_was_touched_long_ago_or_in_the_future(
    tmp_path: Path, seconds: float
) -> None:
    beat = tmp_path / "beat"
    beat.touch()
    now = time.time()
    os.utime(beat, (now, now + seconds))
    wrong = health.probe_health(f"file://{beat}")
    assert f"{beat} was last touched" in wrong
    assert ("in the future: check the clock" in wrong) == (seconds > 0)


def test_http_is_well_when_it_answers_200(server: str) -> None:
    assert health.probe_health(f"http://{server}/well") == ""
    assert (
        health.probe_health(f"http://{server}/ill")
        == f"GET http://{server}/ill answered 503: reason"
    )


def test_nobody_there_is_said_in_a_line() -> None:
    port = free_port()
    assert "refused" in health.probe_health(f"http://127.0.0.1:{port}/")
    assert "refused" in health.probe_health(f"tcp://127.0.0.1:{port}")


def test_tcp_is_well_when_it_accepts(server: str) -> None:
    assert health.probe_health(f"tcp://{server}") == ""


def test_what_accepts_and_never_answers_has_a_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "timed out" in health.probe_health(f"http://127.0.0.1:{silent.getsockname()[1]}/")


def test_the_holder_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        assert health.port_taken(port)
        assert health.port_holder(port).startswith(f"process {os.getpid()} (")
    assert not health.port_taken(port)
