"""dramatiq's broker on Redis, changed so that no job is lost and priorities are respected.

By default, dramatiq 2.2 takes minutes to notice that a worker was killed; after a restart of Redis,
a live worker forgets messages it had taken (delayed ones, and those whose reply was cut off); and a
priority only orders the few messages that a worker has already prefetched. Here no message is
delayed. After every failure of Redis, messages that were taken but never arrived are put back. Each
queue is one line per priority, and a free thread takes the next message from the highest line that
has any. Every tenth message is looked for in a lower line first, so that none starves.
"""

import logging
from collections.abc import Iterable
from threading import Condition

import dramatiq
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from pydantic import SecretStr
from redis.exceptions import RedisError

from ..cache import connect

log = logging.getLogger(__name__)

PRIORITIES = ("high", "normal", "low")

TIMEOUT = 3.0
"""Seconds to wait for Redis. redis-py 8 has a longer limit of its own, which is never reached."""

DEAD_AFTER = 5000
"""Milliseconds without a heartbeat after which the messages of a worker are put back."""

ALWAYS = 1_000_000
"""Commands in a million that look for dead workers: all of them."""

POLL, POLL_MAX = 0.005, 0.2
"""Seconds between two looks at empty lines: at first, and once no job has come for a while."""


TURN = 10
"""A worker looks in a lower line first once in so many messages; the lower lines take turns."""


def lines(queue: str) -> list[str]:
    return [f"{queue}.{priority}" for priority in PRIORITIES]


def in_turn(queue: str, taken: int) -> list[str]:
    """Return the lines in the order in which to look for the next message.

    Of any TURN * 2 messages that a worker takes, at least one is from each lower line that has any.
    """
    first, *lower = lines(queue)
    if taken % TURN < TURN - 1:
        return [first, *lower]
    turn = taken // TURN % len(lower)
    return [*lower[turn:], *lower[:turn], first]


FULL_TOO = "#!lua flags=allow-oom\n"
"""Starts a script that may run when Redis is full too: it ends jobs, or takes what is queued."""

ACTOR = "job"
"""The only actor, whatever the kind of job (store.lua)."""


class Broker(RedisBroker):  # type: ignore[misc]  # mypy does not follow the library
    """Gives the queued messages to the threads of this process."""

    def __init__(self, url: SecretStr, threads: int) -> None:
        super().__init__(
            client=connect(url, TIMEOUT, decoded=False),
            middleware=[],
            heartbeat_timeout=DEAD_AFTER,
            maintenance_chance=ALWAYS,
        )
        dispatch = self.scripts["dispatch"].script
        self.scripts["dispatch"] = self.client.register_script(FULL_TOO.encode() + dispatch)
        self.threads, self.draining, self.full = threads, False, False
        self.held: dict[str, str] = {}
        self.changed = Condition()

    def declare_queue(self, queue_name: str) -> None:
        """Register a queue, without dramatiq's second one for delayed messages."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 0) -> Consumer:
        """Return the consumer of a queue; it does not prefetch."""
        del prefetch, timeout
        return Lines(self, queue_name)

    def beat(self, queue: str) -> None:
        for line in lines(queue):
            self.do_fetch(line, 0)

    def drain(self) -> None:
        with self.changed:
            self.draining = True
            self.changed.notify_all()


class Lines(Consumer):  # type: ignore[misc]  # the same
    """Takes the messages of a queue, mostly in the order of their priority."""

    def __init__(self, broker: Broker, queue: str) -> None:
        self.broker, self.queue, self.unsure = broker, queue, True
        self.pause, self.taken = POLL, 0

    def __next__(self) -> MessageProxy | None:
        """Return a message, or None if there is none or no thread is free."""
        broker = self.broker
        with broker.changed:
            if broker.draining or broker.full or len(broker.held) >= broker.threads:
                broker.changed.wait(POLL_MAX)
                return None
        try:
            found = self.take()
        except RedisError as error:
            self.doubt(error)
            found, self.pause = None, POLL_MAX
        if found is None:
            with broker.changed:
                broker.changed.wait(self.pause)
        self.pause = POLL if found else min(2 * self.pause, POLL_MAX)
        return found

    def take(self) -> MessageProxy | None:
        """Take a message from the first line that has one."""
        if self.unsure:
            self.put_back()
        for line in in_turn(self.queue, self.taken):
            for data in self.broker.do_fetch(line, 1):
                if data is not None:
                    message = dramatiq.Message.decode(data)
                    with self.broker.changed:
                        if not self.broker.draining:
                            self.broker.held[message.message_id] = line
                            self.taken += 1
                            return MessageProxy(message)
                    self.broker.do_requeue(line, message.message_id)
        return None

    def put_back(self) -> None:
        """Put back the messages that Redis gave to this process but that never arrived."""
        for line in lines(self.queue):
            taken = self.broker.client.smembers(
                f"{self.broker.namespace}:__acks__.{self.broker.broker_id}.{line}"
            )
            lost = {bytes(one).decode() for one in taken} - self.broker.held.keys()
            if lost:
                self.broker.do_requeue(line, *lost)
        self.unsure = False

    def doubt(self, error: RedisError) -> None:
        """Remember that Redis failed, and may have carried out the last command or not."""
        if not self.unsure:
            log.warning("Redis failed: %s", error)
        self.unsure = True

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a message.

        The outcome of its job is stored elsewhere: if Redis fails here, the message comes again and
        has no effect.
        """
        try:
            self.broker.do_ack(self.broker.held[message.message_id], message.message_id)
        except RedisError as error:
            self.doubt(error)
        finally:
            with self.broker.changed:
                self.broker.held.pop(message.message_id, None)
                self.broker.changed.notify_all()

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back messages that were taken but not started."""
        try:
            for message in messages:
                self.broker.do_requeue(self.broker.held.pop(message.message_id), message.message_id)
        except RedisError as error:
            raise ConnectionClosed(error) from error
