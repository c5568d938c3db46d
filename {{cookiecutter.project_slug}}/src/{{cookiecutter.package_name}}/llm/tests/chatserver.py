"""A small server that speaks OpenAI's chat completions over real HTTP; the model says how it acts.

`python -m <package>.llm.tests.chatserver PORT [ADDRESS]` runs one.
"""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW = 30.0


def truth(asked: str) -> str:
    """Say every figure of the prompt as it is there."""
    lines = re.findall(r"^- (.*): (.*)$", asked, re.MULTILINE)
    return " ".join(f"The {name} is forecast to be {figure}." for name, figure in lines)


TEXTS: dict[str, Callable[[str], str]] = {
    "honest": truth,
    "thinking": lambda asked: f"<think>\n17 or 18?\n</think>\n{truth(asked)}",
    "liar": lambda asked: truth(asked).replace("73 %", "37 %"),
    "adding": lambda asked: f"{truth(asked)} Yesterday it was 4 degrees.",
    "expecting": lambda asked: f"{truth(asked)}\nExpected: yes, 80 %",
    "doubting": lambda asked: f"{truth(asked)}\n**Expected: No, 65.5%**",
    "boasting": lambda asked: f"{truth(asked)}\nExpected: yes, 800 %",
    "lying": lambda asked: f"{truth(asked)} It was 4 degrees.\nExpected: yes, 90 %",
    "vague": lambda _asked: "It will be a pleasant day.",
    "silent": lambda _asked: " ",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def chat(self) -> "ChatServer":
        assert isinstance(self.server, ChatServer)
        return self.server

    def log_message(self, *_args: object) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.chat.noticed(asked, dict(self.headers)):
            model, user = asked["model"], asked["messages"][-1]["content"]
            if model == "slow":
                self.chat.over.wait(SLOW)
            if model == "endless":
                self.send(200, b"x" * 2_000_000)
            elif model == "broken":
                self.send(500, b'{"error": {"message": "no  memory\\nleft"}}')
            elif model == "garbage":
                self.send(200, b'{"object": "list"}')
            else:
                time.sleep(self.chat.seconds)
                text = TEXTS.get(model, truth)(user)
                self.answer(text, "length" if model == "cut" else "stop")

    def answer(self, text: str, reason: str) -> None:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        self.send(200, json.dumps({"object": "chat.completion", "choices": [choice]}).encode())

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ChatServer(ThreadingHTTPServer):
    """Notes what it was asked, and how much of it at the same time."""

    daemon_threads = True

    def __init__(self, port: int = 0, address: str = "127.0.0.1") -> None:
        super().__init__((address, port), Handler)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.seconds = 0.0
        self.at_once = self.most_at_once = 0
        self.over, self.began = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def noticed(self, asked: dict[str, Any], headers: dict[str, str]) -> Iterator[None]:
        with self._lock:
            self.asked.append(asked)
            self.headers.append(headers)
            self.at_once += 1
            self.began.set()
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    def handle_error(self, *_args: object) -> None:
        """Let clients hang up."""


@contextmanager
def serving() -> Iterator[ChatServer]:
    with ChatServer() as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


if __name__ == "__main__":
    ChatServer(int(sys.argv[1]), *sys.argv[2:]).serve_forever()
