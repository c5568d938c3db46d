"""How many requests a client may make in a minute."""

import math
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from .cache import CacheDownError, Link


@dataclass(frozen=True)
class Allowance:
    """What a client has left after a request; `seconds` until it has more."""

    allowed: bool
    limit: int
    remaining: int
    seconds: int

    def headers(self) -> dict[str, str]:
        """Return it as response headers."""
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.seconds),
        }
        return headers if self.allowed else {**headers, "Retry-After": str(self.seconds)}


class RateLimiter:
    """Counts requests in Redis, for all processes of the API together; without it, in this one.

    A window slides over two counters, so that a client costs the same memory whatever the limit.
    """

    def __init__(self, link: Link, per_minute: int) -> None:
        self.link = link
        self.item = RateLimitItemPerMinute(per_minute)
        pool = link.client.connection_pool
        self.shared = SlidingWindowCounterRateLimiter(
            RedisStorage("redis://", connection_pool=pool)
        )
        self.local = SlidingWindowCounterRateLimiter(MemoryStorage())

    def hit(self, *who: str) -> Allowance | None:
        """Count a request; None where requests are not counted."""
        if not self.item.amount:
            return None
        try:
            with self.link.attempt():
                return self.count(self.shared, who)
        except CacheDownError:
            return self.count(self.local, who)

    def count(self, limiter: SlidingWindowCounterRateLimiter, who: tuple[str, ...]) -> Allowance:
        """Count a request with one of the two."""
        allowed = limiter.hit(self.item, *who)
        reset, remaining = limiter.get_window_stats(self.item, *who)
        seconds = max(1, math.ceil(reset - time.time()))
        return Allowance(allowed, self.item.amount, remaining, seconds)
