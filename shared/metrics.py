"""What Prometheus scrapes of calls, under the names go-grpc-middleware gave them, and where."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from shared.tls import ServerFiles, https_context

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
    """The children of one method.

    Every code is there from its first call on, so that rates of the others begin at 0.
    """

    started: Counter
    seconds: Histogram
    received: Counter
    sent: Counter
    handled: dict[grpc.StatusCode, Counter]


def expose_health(registry: CollectorRegistry, is_serving: Callable[[], bool]) -> None:
    """Tell whether a server calls itself SERVING."""
    Gauge("health_serving", "1 while health says SERVING, else 0.", registry=registry).set_function(
        is_serving
    )


class MetricsEndpoint:
    """Serves a registry, and figures of this process, at host:port; `port` is the one it got.

    Over HTTPS where there are certificates.
    """

    def __init__(self, address: str, registry: CollectorRegistry, files: ServerFiles | None = None) -> None:
        ProcessCollector(registry=registry)
        host, _, port = address.rpartition(":")
        family = _Ipv6Server if ":" in host else _Server
        self._server = make_server(
            host.strip("[]"), int(port), make_wsgi_app(registry), family, handler_class=_Silent
        )
        self.port = self._server.server_port
        if files is not None:
            # Shaking hands in the thread of the request: a client that sends nothing holds up that one alone.
            self._server.socket = https_context(files).wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        # prometheus_client's own server takes half a second to notice that it shall stop.
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Free the port and end the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingWSGIServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who connects and then leaves, or shows no certificate, is no fault of ours."""


class _Ipv6Server(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    """Logs no scrapes; ends those that stay silent."""

    timeout = 10

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""
