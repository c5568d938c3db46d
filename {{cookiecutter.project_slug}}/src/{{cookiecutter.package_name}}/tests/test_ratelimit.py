import uuid

import pytest
from pydantic import SecretStr

from ..cache import Link
from ..ratelimit import Allowance, RateLimiter
from .conftest import free_port


def anybody() -> str:
    return uuid.uuid4().hex


def allowed(limiter: RateLimiter, who: str, requests: int) -> list[bool]:
    return [hit(limiter, who, "/predict").allowed for _ in range(requests)]


def hit(limiter: RateLimiter, *who: str) -> Allowance:
    allowance = limiter.hit(*who)
    assert allowance
    return allowance


def test_one_more_than_allowed_is_refused(redis_url: SecretStr) -> None:
    assert allowed(RateLimiter(Link(redis_url), 3), anybody(), 4) == [True, True, True, False]


def test_processes_count_together(redis_url: SecretStr) -> None:
    client = anybody()
    assert allowed(RateLimiter(Link(redis_url), 3), client, 2) == [True, True]
    assert allowed(RateLimiter(Link(redis_url), 3), client, 2) == [True, False]


def test_clients_and_paths_count_apart(redis_url: SecretStr) -> None:
    limiter, client = RateLimiter(Link(redis_url), 1), anybody()
    assert hit(limiter, client, "/a").allowed
    assert hit(limiter, client, "/b").allowed
    assert hit(limiter, anybody(), "/a").allowed
    assert not hit(limiter, client, "/a").allowed


def test_without_redis_this_process_counts() -> None:
    limiter = RateLimiter(Link(SecretStr(f"redis://127.0.0.1:{free_port()}/0")), 2)
    assert allowed(limiter, anybody(), 3) == [True, True, False]


def test_headers_say_what_is_left_and_when_there_is_more(redis_url: SecretStr) -> None:
    limiter, client = RateLimiter(Link(redis_url), 2), anybody()
    first = hit(limiter, client, "/a")
    assert (first.limit, first.remaining) == (2, 1)
    assert 1 <= first.seconds <= 61
    assert "Retry-After" not in first.headers()
    limiter.hit(client, "/a")
    refused = hit(limiter, client, "/a").headers()
    assert (refused["X-RateLimit-Remaining"], refused["X-RateLimit-Limit"]) == ("0", "2")
    assert refused["Retry-After"] == refused["X-RateLimit-Reset"]


def test_no_limit_counts_nothing_and_does_not_ask_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link(SecretStr(f"redis://127.0.0.1:{free_port()}/0"))
    limiter = RateLimiter(link, 0)
    monkeypatch.setattr(link, "attempt", lambda: pytest.fail("Redis is asked"))
    assert [limiter.hit(anybody(), "/predict") for _ in range(3)] == [None] * 3


def test_an_allowance_is_headers() -> None:
    assert Allowance(allowed=True, limit=5, remaining=4, seconds=60).headers() == {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "4",
        "X-RateLimit-Reset": "60",
    }
