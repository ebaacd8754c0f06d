"""What Prometheus scrapes of alerts."""

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LAG_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 3600.0)


class Measures:
    """Counters and gauges in a registry."""

    def __init__(self, registry: "CollectorRegistry") -> None:
        self.looks = Counter(
            "alerts_looks_total", "Looks at alerts by what came of them.", ("reason",), registry=registry
        )
        self.fenced = Counter(
            "alerts_fenced_total",
            "Looks thrown away because the alert changed, or another replica took over.",
            registry=registry,
        )
        self.lag_seconds = Histogram(
            "alerts_evaluation_lag_seconds",
            "From the close of a window, its grace included, to the end of its judging.",
            registry=registry,
            buckets=_LAG_BUCKETS,
        )
        self.notifications = Counter(
            "alerts_notifications_total",
            "Attempts to tell a recipient, by channel and result: delivered, retried, failed.",
            ("channel", "result"),
            registry=registry,
        )
        self.outbox_depth = Gauge(
            "alerts_outbox_depth", "Deliveries that wait.", ("channel",), registry=registry
        )
        self.outbox_age_seconds = Gauge(
            "alerts_outbox_age_seconds",
            "Age of the oldest delivery that waits.",
            ("channel",),
            registry=registry,
        )
