"""What Prometheus scrapes of calls, under the names go-grpc-middleware gave them."""

from dataclasses import dataclass

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
# From a look-up in a cache to the deadline of a long scan.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def call_type(*, request_streaming: bool, response_streaming: bool) -> str:
    """Return the grpc_type of a method."""
    if request_streaming:
        return "bidi_stream" if response_streaming else "client_stream"
    return "server_stream" if response_streaming else "unary"


def code_label(code: grpc.StatusCode) -> str:
    """Return a code as Go spells it (`InvalidArgument`), which is what dashboards ask for."""
    if code is grpc.StatusCode.OK:
        return "OK"
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return code.name.title().replace("_", "")


class CallMetrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "grpc_server_started_total",
            "Calls that arrived, those shed over the concurrency limit included.",
            _LABELS,
            registry=registry,
        )
        self._handled = Counter(
            "grpc_server_handled_total", "Calls that ended.", (*_LABELS, "grpc_code"), registry=registry
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "From arrival to end, waiting for a thread included.",
            _LABELS,
            registry=registry,
            buckets=_BUCKETS,
        )
        self._received = Counter(
            "grpc_server_msg_received_total", "Messages received.", _LABELS, registry=registry
        )
        self._sent = Counter("grpc_server_msg_sent_total", "Messages sent.", _LABELS, registry=registry)

    def of_method(self, full_method: str, kind: str) -> "MethodMetrics":
        """Return the metrics of one method, whose labels are then never looked up again."""
        service, _, method = full_method.removeprefix("/").partition("/")
        labels = (kind, service, method)
        return MethodMetrics(
            self._started.labels(*labels),
            self._seconds.labels(*labels),
            self._received.labels(*labels),
            self._sent.labels(*labels),
            {code: self._handled.labels(*labels, code_label(code)) for code in grpc.StatusCode},
        )


@dataclass(frozen=True)
class MethodMetrics:
    """The children of one method. Every code is there from the start, so that rates begin at 0."""

    started: Counter
    seconds: Histogram
    received: Counter
    sent: Counter
    handled: dict[grpc.StatusCode, Counter]
