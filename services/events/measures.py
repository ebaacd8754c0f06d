"""What Prometheus is told about events, beside what every server tells about its calls."""

import shutil
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


def expose_disk(registry: CollectorRegistry, path: Path, minimum_free_bytes: int) -> None:
    """Tell how much is free where PostgreSQL writes, and below what events are refused."""
    free = Gauge("events_disk_free_bytes", "Free on the database's disk.", registry=registry)
    free.set_function(lambda: shutil.disk_usage(path).free)
    least = Gauge("events_disk_minimum_bytes", "Events are refused while less is free.", registry=registry)
    least.set(minimum_free_bytes)


class Measures:
    """Counters of one running service."""

    def __init__(
        self, registry: CollectorRegistry, queued_events: Callable[[], int], queue_limit: int
    ) -> None:
        tracked = Counter("events_tracked", "Events by what became of them.", ["result"], registry=registry)
        self._accepted, self._duplicates, self._rejected = (
            tracked.labels(result) for result in ("accepted", "duplicate", "rejected")
        )
        self._folded = Counter("events_deltas_folded", "Deltas folded into roll-ups.", registry=registry)
        self._fold_seconds = Histogram(
            "events_fold_seconds", "Time one fold of deltas took.", registry=registry
        )
        self._waiting_bytes = Gauge(
            "events_delta_bytes", "Size of the deltas not folded yet.", registry=registry
        )
        queue = Gauge("events_queued", "Events that wait for a writer.", registry=registry)
        queue.set_function(queued_events)
        limit = Gauge("events_queue_limit", "Events that may wait for a writer.", registry=registry)
        limit.set(queue_limit)

    def count_batch(self, accepted: int, duplicates: int, rejected: int) -> None:
        """Count the events of a batch."""
        self._accepted.inc(accepted)
        self._duplicates.inc(duplicates)
        self._rejected.inc(rejected)

    def count_fold(self, deltas: int, seconds: float, waiting_bytes: int) -> None:
        """Count a fold, if it found something to do, and what it left."""
        self._waiting_bytes.set(waiting_bytes)
        if deltas:
            self._folded.inc(deltas)
            self._fold_seconds.observe(seconds)
