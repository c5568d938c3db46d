"""A baked repository: its tasks, its stack, its API."""

import json
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from devtools import environment, process

TIMEOUT = 10.0


@dataclass(frozen=True)
class Project:
    """A repository and the virtual environment of its tasks."""

    root: Path
    venv: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return environment.variables(self.venv, **self.variables)

    @property
    def is_set_up(self) -> bool:
        return (self.venv / "bin" / "inv").is_file() and (self.root / "tasks.py").is_file()

    def inv(self, *arguments: str) -> int:
        return process.run(["inv", *arguments], cwd=self.root, env=self.env)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return what deploy.status says of each service."""
        said = process.read(["inv", "deploy.status", "--json"], cwd=self.root, env=self.env)
        return {service["service"]: service for service in json.loads(said)}

    def urls(self) -> dict[str, str]:
        return {name: state["url"] for name, state in self.status().items() if state["url"]}


class Api:
    """A keep-alive connection to a served model."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.connection = HTTPConnection(parts.netloc, timeout=TIMEOUT)

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """Send JSON and return the status and the answer."""
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", path, json.dumps(body), headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def predict(self, **body: object) -> dict[str, Any]:
        """Ask for a prediction."""
        status, content = self.post("/predict", body)
        if status != 200:  # noqa: PLR2004 - HTTP's OK
            raise RuntimeError(f"POST /predict answered {status}: {content.decode()}")
        found: dict[str, Any] = json.loads(content)
        return found
