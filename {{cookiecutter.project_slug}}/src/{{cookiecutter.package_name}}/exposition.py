"""What /metrics says of the models, for every process of this host; and of how data is kept."""

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from . import keeping, reports
from .reports import Report
from .watching import Watcher

LABELS = ("tier", "version", "process")


class ModelCollector(Collector):
    """Reads what the processes report of themselves, each time that it is asked."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def describe(self) -> list[Metric]:
        """Name nothing before it is asked for: the processes have their own names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the measures of each tier of each process."""
        info = GaugeMetricFamily("model_info", "The model that is served", labels=LABELS)
        seconds = GaugeMetricFamily(
            "model_load_seconds", "Time the model took to load and warm up", labels=LABELS
        )
        swapped = GaugeMetricFamily(
            "model_swapped_timestamp_seconds", "Time since which the model is served", labels=LABELS
        )
        failures = CounterMetricFamily(
            "model_load_failures", "Failed loads", labels=("tier", "process")
        )
        for report in self.of_host():
            for tier, said in report.tiers.items():
                labels = (tier, said.version, str(report.pid))
                failures.add_metric((tier, str(report.pid)), said.failures)
                if said.loaded_at:
                    info.add_metric(labels, 1)
                    seconds.add_metric(labels, said.load_seconds)
                    swapped.add_metric(labels, said.loaded_at.timestamp())
        yield from (info, seconds, swapped, failures)

    def of_host(self) -> list[Report]:
        """Return what each process of this host says; of this one, what holds right now."""
        reporter = self.watcher.reporter
        own = reporter.report(self.watcher.models, self.watcher.answers)
        found = reports.living(reporter.folder).values()
        others = [one for one in found if one and one.host == own.host and one.pid != own.pid]
        return [own, *others]


class KeepingCollector(Collector):
    """Reads what the tasks left word of, each time that it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def describe(self) -> list[Metric]:
        """Name nothing before it is asked for: what is not known is not told."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what is known; whether a backup is overdue, in any case."""
        facts = keeping.read(self.folder)
        drill, promised = facts.drill, facts.objectives
        newest = facts.newest_verified_at
        for name, about, value in (
            (
                "newest_verified_timestamp_seconds",
                "Time of the newest verified restore point",
                newest.timestamp() if newest else None,
            ),
            (
                "recovery_point_objective_seconds",
                "Maximum age of the newest verified restore point",
                promised.recovery_point_seconds if promised else None,
            ),
            (
                "overdue",
                "1 if the newest verified restore point is older than that, or missing",
                float(facts.overdue(time.time())),
            ),
            (
                "drill_duration_seconds",
                "Duration of the last successful drill",
                drill.seconds if drill and drill.ok else None,
            ),
            (
                "recovery_time_objective_seconds",
                "Maximum duration of a recovery",
                promised.recovery_time_seconds if promised else None,
            ),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"backup_{name}", about, value=value)
