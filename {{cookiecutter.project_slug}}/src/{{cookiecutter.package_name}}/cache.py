"""Redis, which may be unavailable, and the predictions cached in it."""

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from redis import ConnectionPool, CredentialProvider, Redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError
from redis.retry import Retry

from .shared.console import progress

log = logging.getLogger(__name__)

TIMEOUT = 0.5
"""Seconds to wait for Redis, to connect and to answer."""

PAUSE = 5.0
"""Seconds that Redis is left alone after it failed, so that requests do not wait for it again."""

FULL_SAID = 300.0
"""Seconds until it is said again that Redis is full."""

PREFIX = "forecast:"


class CacheDownError(Exception):
    """Redis is not responding, failed a moment ago, or is full."""


class Login(CredentialProvider):
    """The login of new connections: user and password of the newest URL."""

    def __init__(self, url: SecretStr) -> None:
        self.url = url

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password, after the user if one is named; nothing where there is none."""
        told = told_by(self.url)
        user, password = told.get("username"), told.get("password")
        if user:
            return user, password or ""
        return (password,) if password else ()  # type: ignore[return-value]  # nobody logs in


def told_by(url: SecretStr) -> dict[str, Any]:
    return dict(parse_url(url.get_secret_value()))  # type: ignore[no-untyped-call]


def connect(url: SecretStr, timeout: float = TIMEOUT, *, decoded: bool = True) -> Redis:
    """Return a pooled client with a timeout; nothing is connected yet.

    Its one retry is for pooled connections that Redis has cut, as it does when it is restarted, and
    for a login that was replaced while it was refused.
    """
    options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        "decode_responses": decoded,
        "credential_provider": Login(url),
        **told_by(url),
    }
    pool = ConnectionPool(
        **{name: value for name, value in options.items() if name not in {"username", "password"}}
    )
    return Redis.from_pool(pool)


class Link:
    """The connection to Redis; after a failure, attempts fail at once for a while."""

    def __init__(self, url: SecretStr) -> None:
        self.client = connect(url)
        self._paused_until = self._full_until = 0.0

    @contextmanager
    def attempt(self) -> Iterator[Redis]:
        """Give the client for one use.

        Raises CacheDownError if Redis fails, and at once during the pause after that.
        After the pause one request tries again, while others go on without Redis. A full Redis
        still answers and returns what it has: it is skipped only for this use.
        """
        now = time.monotonic()
        if now < self._paused_until:
            raise CacheDownError
        if self._paused_until:
            self._paused_until = now + PAUSE
        try:
            yield self.client
        except OutOfMemoryError as error:
            self._paused_until = 0.0
            if now >= self._full_until:
                self._full_until = now + FULL_SAID
                log.warning(
                    "Redis is full: nothing new is cached, and each process counts on its own"
                )
            raise CacheDownError from error
        except RedisError as error:
            self._paused_until = now + PAUSE
            log.warning("Redis failed; it will be retried in %g s: %s", PAUSE, error)
            raise CacheDownError from error
        self._paused_until = 0.0

    def check(self) -> None:
        """Ask Redis whether it is there, pause or not; raises RedisError."""
        self.client.ping()
        self._paused_until = 0.0


class PredictionCache:
    """Cached texts. Without Redis it is empty and stores nothing."""

    def __init__(self, link: Link, seconds: int) -> None:
        """Keep each text that many seconds; 0 keeps none."""
        self.link = link
        self.seconds = seconds

    def get(self, key: str) -> str | None:
        """Return the cached text, or None."""
        if not self.seconds:
            return None
        try:
            with self.link.attempt() as redis:
                kept = redis.get(key)
        except CacheDownError:
            return None
        return None if kept is None else str(kept)

    def put(self, key: str, text: str) -> None:
        """Keep a text."""
        if not self.seconds:
            return
        try:
            with self.link.attempt() as redis:
                redis.set(key, text, ex=self.seconds)
        except CacheDownError:
            return


def cache_key(model: str, question: str) -> str:
    return PREFIX + hashlib.sha256(f"{model}\n{question}".encode()).hexdigest()


def forget_predictions(url: SecretStr) -> None:
    """Delete all cached predictions, because their rows have changed."""
    redis = connect(url)
    try:
        for key in redis.scan_iter(f"{PREFIX}*", count=1000):
            redis.unlink(key)
    except RedisError:
        progress(
            "Redis is not responding: cached predictions may be up to CACHE_SECONDS out of date"
        )
    finally:
        redis.close()
