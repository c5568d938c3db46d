"""What /metrics says of the queues."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from .store import Load, Store

log = logging.getLogger(__name__)

COUNTED = ("done", "dead", "cancelled", "retried", "lost")


class JobsCollector(Collector):
    """Asks Redis each time that it is asked; it says nothing where Redis does not answer."""

    def __init__(self, store: Store, queues: Iterable[str]) -> None:
        """Take the queues to ask about."""
        self.store, self.queues = store, list(queues)

    def describe(self) -> list[Metric]:
        """Name nothing before it is asked for: what is not known is not told."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield depth, age, what runs, what is dead, and the workers of each queue."""
        try:
            loads = [self.store.load(queue) for queue in self.queues]
            workers = Counter(one["queue"] for one in self.store.workers().values())
            memory = self.store.memory()
        except RedisError as error:
            log.warning("the queues cannot be measured: %s", error)
            return
        depth = GaugeMetricFamily(
            "jobs_waiting", "Jobs that wait for a worker", labels=("queue", "priority")
        )
        for load in loads:
            for priority, number in load.waiting.items():
                depth.add_metric((load.queue, priority), number)
        yield depth
        yield gauge("jobs_oldest_seconds", "How long the first has waited", loads, "oldest_seconds")
        yield gauge("jobs_running", "Jobs that workers are at", loads, "running")
        yield gauge("jobs_delayed", "Jobs that failed and are tried again later", loads, "delayed")
        yield gauge("jobs_dead_letters", "Jobs that were given up", loads, "dead")
        there = GaugeMetricFamily("jobs_workers", "Workers that are there", labels=("queue",))
        came = CounterMetricFamily("jobs_ended", "What came of jobs", labels=("queue", "outcome"))
        for load in loads:
            there.add_metric((load.queue,), workers[load.queue])
            for outcome in COUNTED:
                came.add_metric((load.queue, outcome), load.counts.get(outcome, 0))
        yield from (there, came)
        yield GaugeMetricFamily(
            "jobs_memory_bytes", "Memory that Redis has in use for all it keeps", memory.used
        )
        yield GaugeMetricFamily(
            "jobs_memory_limit_bytes", "Above so much no job is taken; 0: no limit", memory.limit
        )


def gauge(name: str, about: str, loads: Iterable[Load], field: str) -> GaugeMetricFamily:
    """Return a measure of every queue."""
    family = GaugeMetricFamily(name, about, labels=("queue",))
    for load in loads:
        family.add_metric((load.queue,), getattr(load, field))
    return family
