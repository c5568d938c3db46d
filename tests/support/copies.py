"""Copies of this repository with ports, names and secrets of their own, for tests of the whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.stack.ephemeral import free_ports
from tests.support.bakes import baked, trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REPOSITORY = baked("serving")
OURS = (
    "API_KEY", "DATABASE_URL", "REDIS_URL", "APP_ENV", "API_URL",
    "BACKUP_URL", "BACKUP_URL_OPTIONS", "BACKUP_RECIPIENT", "AGE_IDENTITY_FILE",
)  # fmt: skip
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".nox", ".venv", ".env", ".env.[!e]*", "journal.jsonl", "*.db*",
    "__pycache__", ".*_cache", "compose.lock.yaml", "*-1[dw]",
)  # fmt: skip
MADE_AT_RUN_TIME = {"run", "models", "reports", "backups"}
"""Folders of the repository itself; slipway/ has rooms of such names."""


def left_behind(of: Path) -> Callable[[str, list[str]], set[str]]:
    """Return what tells `copytree` what of a repository is not to be copied."""
    return lambda folder, names: (
        LEFT_BEHIND(folder, names) | (MADE_AT_RUN_TIME & {*names} if Path(folder) == of else set())
    )


def git(root: Path, *arguments: str) -> None:
    """Run git as somebody, whoever runs the tests."""
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    command = ["git", *identity, *arguments]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def service_of(line: str) -> str:
    """Return the service whose folder a line names; nothing where it names none."""
    return line.partition("services/")[2].partition("/")[0]


def ports(root: Path) -> list[str]:
    """Name the variables of a repository that are ports."""
    schema = tomllib.loads((root / "env" / "schema.toml").read_text(encoding="utf-8"))
    return [name for name, entry in schema.items() if entry.get("type") == "port"]


def lift_limits(root: Path) -> None:
    """Let the API answer any number of requests, each of them by a model."""
    settings = root / "config" / "settings.yaml"
    text = settings.read_text(encoding="utf-8")
    for name, value in (("rate_limit_per_minute", 1_000_000), ("cache_seconds", 0)):
        text = re.sub(rf"{name}: \d+", f"{name}: {value}", text)
    settings.write_text(text, encoding="utf-8")


def run_two_workers(root: Path) -> None:
    """Let the API run as two worker processes behind one port."""
    compose = root / "services" / "api" / "compose.yaml"
    text = compose.read_text(encoding="utf-8")
    compose.write_text(text.replace("--port {API_PORT}", "--port {API_PORT} --workers 2"))


class Copy:
    """A copy of a bake, and how to type in it."""

    def __init__(
        self, root: Path, *, of: Path = REPOSITORY, models: bool = False, **variables: str
    ) -> None:
        """Copy a bake to `root`; `variables` are set for everything that is typed.

        With `models`, the first start finds them there and trains none.
        """
        shutil.copytree(of, root, ignore=left_behind(of))
        self.root = root
        names = ports(root)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        ours = (*self.ports, *OURS)
        inherited = {name: value for name, value in os.environ.items() if name not in ours}
        own = {name: str(port) for name, port in self.ports.items()}
        later = datetime.now(UTC) + timedelta(hours=12)  # no night begins in the middle of a test
        self.environment = inherited | own | {"BACKUP_AT": f"{later:%H:%M}"} | variables

        if models:
            self.add_models()

    def add_models(self) -> None:
        """Add what the first start would train."""
        shutil.copytree(trained(), self.root / "models", symlinks=True, dirs_exist_ok=True)

    def commit(self) -> None:
        """Commit all there is, in a repository of its own."""
        git(self.root, "init", "--quiet")
        git(self.root, "add", ".")
        git(self.root, "commit", "--quiet", "--message", "all")

    def keep(self, names: Iterable[str]) -> None:
        """Leave every service out but some: images are large, and starting takes time.

        Those of the other profiles stay, and with them what env/schema.toml says of who reads what.
        """
        there, top = [*names], self.root / f"compose.{self.environment.get('APP_ENV')}.yaml"
        top = top if top.exists() else self.root / "compose.yaml"
        lines = top.read_text(encoding="utf-8").splitlines(keepends=True)
        top.write_text("".join(line for line in lines if service_of(line) in ("", *there)))

    @property
    def commit_id(self) -> str:
        """The commit that is checked out."""
        folder = self.root / ".git"
        return (folder / (folder / "HEAD").read_text()[5:].strip()).read_text().strip()

    @property
    def api(self) -> str:
        """Where the API is reached: its own port, or the proxy's."""
        server = self.environment.get("APP_ENV") in ("staging", "prod")
        return f"http://127.0.0.1:{self.ports['HTTP_PORT' if server else 'API_PORT']}"

    def inv(self, *arguments: str, code: int = 0, cwd: Path | None = None) -> str:
        """Type `inv`, and return what it printed; the exit code must be `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=cwd or self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def status(self) -> dict[str, dict[str, Any]]:
        """Return what deploy.status says, by service."""
        said = json.loads(self.inv("deploy.status", "--json"))
        return {item["service"]: item for item in said}

    def get(self, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Ask the API; with a body, POST it."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.api + path, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)
