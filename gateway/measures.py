"""What Prometheus scrapes of the gateway."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Measures:
    """Requests by route, and captured events by what became of them."""

    requests: Counter
    seconds: Histogram
    captured: Counter


def create(registry: CollectorRegistry) -> Measures:
    """Return the measures of one gateway, in a registry of its own."""
    return Measures(
        requests=Counter(
            "http_requests_total", "Requests that ended.", ("method", "route", "code"), registry=registry
        ),
        seconds=Histogram(
            "http_request_duration_seconds",
            "From arrival to the end of the answer.",
            ("method", "route"),
            registry=registry,
            buckets=_BUCKETS,
        ),
        captured=Counter(
            "gateway_captured_events_total",
            "Events that senders of a source sent: accepted, duplicate, rejected, or dropped because their "
            "browser asks not to be tracked.",
            ("source", "outcome"),
            registry=registry,
        ),
    )
