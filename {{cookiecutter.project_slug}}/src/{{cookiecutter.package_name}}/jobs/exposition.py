"""The metrics of the queues."""

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
    """Reads the queues at each scrape; yields nothing if Redis does not respond."""

    def __init__(self, store: Store, queues: Iterable[str]) -> None:
        self.store, self.queues = store, list(queues)

    def describe(self) -> list[Metric]:
        """Announce no metrics in advance: nothing is known before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield each queue's depth, age, running and dead jobs, and the workers."""
        try:
            loads = [self.store.load(queue) for queue in self.queues]
            workers = Counter(one["queue"] for one in self.store.workers().values())
            memory = self.store.memory()
        except RedisError as error:
            log.warning("cannot read the queues: %s", error)
            return
        depth = GaugeMetricFamily(
            "jobs_waiting", "Jobs waiting for a worker", labels=("queue", "priority")
        )
        for load in loads:
            for priority, number in load.waiting.items():
                depth.add_metric((load.queue, priority), number)
        yield depth
        yield gauge(
            "jobs_oldest_seconds", "How long the oldest has waited", loads, "oldest_seconds"
        )
        yield gauge("jobs_running", "Jobs in progress", loads, "running")
        yield gauge("jobs_delayed", "Failed jobs waiting for a retry", loads, "delayed")
        yield gauge("jobs_dead_letters", "Dead letters", loads, "dead")
        there = GaugeMetricFamily("jobs_workers", "Running workers", labels=("queue",))
        came = CounterMetricFamily(
            "jobs_ended", "Finished jobs by outcome", labels=("queue", "outcome")
        )
        for load in loads:
            there.add_metric((load.queue,), workers[load.queue])
            for outcome in COUNTED:
                came.add_metric((load.queue, outcome), load.counts.get(outcome, 0))
        yield from (there, came)
        yield GaugeMetricFamily("jobs_memory_bytes", "Memory Redis uses for data", memory.used)
        yield GaugeMetricFamily(
            "jobs_memory_limit_bytes", "No job is accepted above this; 0: no limit", memory.limit
        )


def gauge(name: str, about: str, loads: Iterable[Load], field: str) -> GaugeMetricFamily:
    """Return a metric with a value for each queue."""
    family = GaugeMetricFamily(name, about, labels=("queue",))
    for load in loads:
        family.add_metric((load.queue,), getattr(load, field))
    return family
