"""A small real project for the tests of ops/: its services are few lines of Python."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ops import environment
from ops.engines.local import LocalEngine
from ops.engines.supervision import Places, Supervisor
from ops.project import Project, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.register_assert_rewrite("tests.recoveries", "tests.rotations", "tests.traffic")

# A shell that starts the tests in the background has Ctrl-C ignored, by all that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent

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
        held = {item.name: item.value for item in environment.effective(self.project, "dev")}
        engine = LocalEngine(self.project, held | values)
        self.engines.append(engine)
        return engine

    def inv(self, *arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
        """Run `inv` in the project and return what it printed and its exit code."""
        command = [sys.executable, "-m", "invoke", *arguments]
        options = {"cwd": self.root, "capture_output": True, "text": True, "timeout": 120} | kwargs
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def make_scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Scratch]]:
    """Make scratch projects, and end whatever they left running."""
    made: list[Scratch] = []
    for name in ("APP_ENV", "API_KEY", "WEB_PORT", "WEB_URL"):
        monkeypatch.delenv(name, raising=False)

    def make(root: Path) -> Scratch:
        root.mkdir(parents=True, exist_ok=True)
        scratch = Scratch(root, free_port())
        names = 'name = "Scratch"\nslug = "scratch"\npackage = "scratch"\n'
        scratch.write("project.toml", f"[project]\n{names}")
        scratch.write("env/schema.toml", SCHEMA.format(port=scratch.port))
        scratch.write("compose.yaml", COMPOSE)
        scratch.write("first.py", "print('first ran')")
        scratch.write("web.py", WEB)
        scratch.write("src/scratch/settings.py", "print('settings are valid')")
        scratch.write("run/engine", "local")
        scratch.write("services/api/README.md", "Whose folder is here, their tasks are offered.")
        scratch.write("tasks.py", (REPOSITORY / "tasks.py").read_text(encoding="utf-8"))
        # A copy, not a link: a task finds its project by where ops/ is.
        for path in (REPOSITORY / "ops").rglob("*.py"):
            scratch.write(str(path.relative_to(REPOSITORY)), path.read_text(encoding="utf-8"))
        made.append(scratch)
        return scratch

    yield make
    for scratch in made:
        Supervisor(Places(scratch.root, scratch.root / "run" / "local")).stop()


@pytest.fixture
def scratch(tmp_path: Path, make_scratch: Callable[[Path], Scratch]) -> Scratch:
    """Return a small project with one step, one web service and one that only containers run."""
    return make_scratch(tmp_path / "scratch")
