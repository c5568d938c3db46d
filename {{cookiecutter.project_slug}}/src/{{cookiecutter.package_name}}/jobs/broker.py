"""dramatiq's broker on Redis, such that a job is not lost and a priority counts.

As it comes, dramatiq 2.2 takes minutes to notice that a worker was killed; a worker that lives
forgets messages that it had taken when Redis was restarted (those that are delayed, and those whose
answer was cut off); and a priority counts only among the few messages that a worker has taken
already. So here no message is delayed, what was taken and is not known here is put back after every
failure of Redis, each queue is a line for each priority, and a message is taken when there is a
thread for it, from the first line that has one; every tenth, from a lower one if that has one, so
that it is not held up for good.
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
"""Seconds to wait for Redis. redis-py 8 has a limit of its own, which nobody here waits for."""

DEAD_AFTER = 5000
"""Milliseconds without a word from a worker, after which what it had taken is put back."""

ALWAYS = 1_000_000
"""Of a million commands, how many look for workers that are gone: each one."""

POLL, POLL_MAX = 0.005, 0.2
"""Seconds until the next look at lines that were empty: at first, and after a while with no job."""


TURN = 10
"""Every so many messages a worker takes, a lower line is looked at first, each in its turn."""


def lines(queue: str) -> list[str]:
    return [f"{queue}.{priority}" for priority in PRIORITIES]


def in_turn(queue: str, taken: int) -> list[str]:
    """Return the lines in the order in which the next message is looked for, after so many.

    Of any TURN * 2 messages that one worker takes, at least one is of a lower line that has any.
    """
    first, *lower = lines(queue)
    if taken % TURN < TURN - 1:
        return [first, *lower]
    turn = taken // TURN % len(lower)
    return [*lower[turn:], *lower[:turn], first]


FULL_TOO = "#!lua flags=allow-oom\n"
"""A script that begins so is run when Redis is full too: it ends jobs, or takes what is there."""

ACTOR = "job"
"""The one actor that messages name, whatever their job's kind is (store.lua)."""


class Broker(RedisBroker):  # type: ignore[misc]  # mypy does not follow the library
    """Gives what waits in the lines of a queue to the threads of this process."""

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
        """Know a queue; it has no other one beside it for what is delayed."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 0) -> Consumer:
        """Return what takes messages; nothing is taken for later."""
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
    """Takes the messages of a queue, those of a higher priority first, but for some."""

    def __init__(self, broker: Broker, queue: str) -> None:
        self.broker, self.queue, self.unsure = broker, queue, True
        self.pause, self.taken = POLL, 0

    def __next__(self) -> MessageProxy | None:
        """Return a message, or None if there is none, or nobody who is free."""
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
        """Put back what Redis gave to this process, and did not reach it."""
        for line in lines(self.queue):
            taken = self.broker.client.smembers(
                f"{self.broker.namespace}:__acks__.{self.broker.broker_id}.{line}"
            )
            lost = {bytes(one).decode() for one in taken} - self.broker.held.keys()
            if lost:
                self.broker.do_requeue(line, *lost)
        self.unsure = False

    def doubt(self, error: RedisError) -> None:
        """Remember that Redis failed; what it did before it failed is not known."""
        if not self.unsure:
            log.warning("Redis failed: %s", error)
        self.unsure = True

    def ack(self, message: MessageProxy) -> None:
        """Be done with a message.

        What became of its job is kept elsewhere: where Redis fails here, the message comes again,
        and nothing comes of it.
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
        """Put back what was taken and not begun."""
        try:
            for message in messages:
                self.broker.do_requeue(self.broker.held.pop(message.message_id), message.message_id)
        except RedisError as error:
            raise ConnectionClosed(error) from error
