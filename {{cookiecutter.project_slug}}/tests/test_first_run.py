"""From a fresh copy of this repository to a served prediction, with the README's one command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.stack.ephemeral import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parent.parent
GENERATED = {"run", "models", "backups", "reports", "journal.jsonl"}
"""What using a repository leaves at its root; a clone has none of it."""
CACHES = shutil.ignore_patterns(
    ".git", ".nox", ".venv", ".env", ".env.[!e]*", "*.db*", "__pycache__", ".*_cache"
)
SETTINGS = ("API_KEY", "API_URL", "APP_ENV", "BACKUP_URL", "DATABASE_URL", "REDIS_URL")
"""Variables of whoever runs the tests, which would be the copy's too."""


def not_cloned(folder: str, names: list[str]) -> set[str]:
    """Name what a clone would not have of a folder."""
    return CACHES(folder, names) | (GENERATED if folder == str(REPOSITORY) else set())


class FreshCopy:
    """A copy of this repository with ports of its own."""

    def __init__(self, root: Path) -> None:
        shutil.copytree(REPOSITORY, root, ignore=not_cloned)
        self.root = root
        schema = tomllib.loads((root / "env" / "schema.toml").read_text(encoding="utf-8"))
        ports = [name for name, entry in schema.items() if entry.get("type") == "port"]
        self.ports = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
        inherited = {key: value for key, value in os.environ.items() if key not in SETTINGS}
        self.environment = inherited | self.ports | {"SLIPWAY_ENGINE": "local"}

    def inv(self, *arguments: str) -> str:
        """Type `inv`, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - JSON
        """Ask the API; with a body, POST it."""
        url = f"http://127.0.0.1:{self.ports['API_PORT']}{path}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            return json.load(answer)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshCopy]:
    """Bring a copy up, and stop it whatever happens."""
    made = FreshCopy(tmp_path_factory.mktemp("first run") / "repository")
    try:
        made.inv("deploy.up")
        yield made
    finally:
        made.inv("deploy.down")


def test_every_service_is_healthy(copy: FreshCopy) -> None:
    status = json.loads(copy.inv("deploy.status", "--json"))
    assert {item["state"] for item in status} == {"healthy"}


def test_a_listed_model_makes_a_prediction(copy: FreshCopy) -> None:
    prediction = copy.ask("/predict", b"{}")
    models = json.loads(copy.inv("models.list", "--json"))
    current = {(item["tier"], item["version"]) for item in models if item["current"]}
    assert (prediction["tier"], prediction["version"]) in current


def test_the_doctor_finds_no_problem(copy: FreshCopy) -> None:
    findings = json.loads(copy.inv("doctor", "--json"))
    assert not [item for item in findings if item["state"] == "fail"]


def test_it_comes_up_again_with_its_data(copy: FreshCopy) -> None:
    before = copy.ask("/predictions?source=api")
    copy.inv("deploy.down")
    copy.inv("deploy.up")
    assert copy.ask("/predictions?source=api") == before
