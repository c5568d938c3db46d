"""A small real project for the tests of slipway/: its services are few lines of Python."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devtools.bake import ROOT, TEMPLATE
from slipway.config import values as config_values
from slipway.core.project import Project, load
from slipway.stack.engines.local import LocalEngine

if TYPE_CHECKING:
    from pathlib import Path

IN_PLACE = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, TEMPLATE)))}
"""For processes that import slipway/ as it stands in the template, and the tests."""

WEB = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ.get("ANSWER", "200")))
        self.end_headers()
        self.wfile.write(b"well")
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

SCHEMA = """
[APP_ENV]
about = "The profile."
read_by = ["elsewhere"]
default = "dev"
[API_KEY]
about = "Opens doors."
read_by = ["elsewhere"]
secret = 32
[WEB_PORT]
about = "The port."
type = "port"
read_by = ["web"]
default = "{port}"
[WEB_URL]
about = "Derived."
read_by = ["elsewhere"]
default = {{ dev = "http://127.0.0.1:${{WEB_PORT}}" }}
"""

COMPOSE = """
services:
  first:
    x-local: {command: python first.py}
  web:
    depends_on:
      first: {condition: service_completed_successfully}
      elsewhere: {condition: service_healthy}
    x-local: {command: "python web.py {WEB_PORT}", health: "http://127.0.0.1:{WEB_PORT}/"}
  elsewhere:
    image: only-in-containers
    environment: [APP_ENV, API_KEY, WEB_URL]
"""


def free_port() -> int:
    """Ask the kernel for a port that nobody holds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Scratch:
    """A project made for one test."""

    root: Path
    port: int
    engines: list[LocalEngine] = field(default_factory=list)

    @property
    def project(self) -> Project:
        return load(self.root)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def engine(self, **values: str) -> LocalEngine:
        """Return the engine over the variables that hold, with some set otherwise."""
        held = {
            item.name: item.value for item in config_values.effective_values(self.project, "dev")
        }
        engine = LocalEngine(self.project, held | values)
        self.engines.append(engine)
        return engine

    def inv(self, *arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
        """Run `inv` in the project and return what it printed and its exit code."""
        command = [sys.executable, "-m", "invoke", *arguments]
        options = {"cwd": self.root, "capture_output": True, "text": True, "timeout": 120} | kwargs
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload,no-any-return]
