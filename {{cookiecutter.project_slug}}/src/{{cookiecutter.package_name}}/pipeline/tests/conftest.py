"""A series to work on, a source that misbehaves as asked, and no variable of the developer's."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .. import rules
from ..source import KEYS
from ..work import Work

ROOT = Path(__file__).absolute().parents[4]
SHIPPED = ROOT / "data/seattle-weather.csv"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for key in KEYS:
        for name in (key.upper(), f"{key.upper()}_FILE"):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return make_work(tmp_path)


def make_work(folder: Path, series: str = "temp_max", interval: rules.Interval = "1w") -> Work:
    name = f"{series}-{interval}"
    return Work(series, interval, rules.load(), folder / "data" / name, folder / "artifacts" / name)


@dataclass
class Answer:
    """How a server answers one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    """Bytes of the body after which the connection breaks; None: all are sent."""

    pause: float = 0.0
    """Seconds between pieces of the body."""

    piece: int = 1 << 20


@dataclass
class Source:
    """A real HTTP server; `answers` are given in a row, the last one again and again."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request."""

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def source() -> Iterator[Source]:
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(dict(self.headers))
            answer = made.next()
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            sent = answer.body[: answer.sent]
            for start in range(0, len(sent), answer.piece):
                self.wfile.write(sent[start : start + answer.piece])
                self.wfile.flush()
                if stopped.wait(answer.pause):
                    return

        def log_message(self, *_arguments: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # who asked has gone
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Source(f"http://127.0.0.1:{server.server_port}/weather.csv")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield made
        stopped.set()
        server.shutdown()
        thread.join(5)
