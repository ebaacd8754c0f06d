"""The one bootstrap of every server: builds it, serves, drains, stops."""

import faulthandler
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from types import FrameType
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from shared.auth import Verifier
from shared.calls import CallRate
from shared.config import ServiceSettings
from shared.health import Health
from shared.interceptors import Bounds, CallInterceptor
from shared.lanes import Lanes
from shared.metrics import CallMetrics, MetricsEndpoint, expose_health
from shared.quotas import Quotas
from shared.stalls import Stalls
from shared.tls import grpc_credentials
from shared.tracing import open_tracer

if TYPE_CHECKING:
    from shared.spans import Tracer

_logger = logging.getLogger(__name__)

# How soon a signal to stop is noticed that did not wake anybody.
_NOTICED_SECONDS: Final = 0.5

# Beyond the time that running calls are given, before a stopping program is ended. What waits for a database
# that says nothing would wait for ever: nothing ends that but the end of the process.
ENDING_SECONDS: Final = 10.0

_OPTIONS: Final = (
    # Two processes on one port would share its calls unnoticed.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    # Clients may ping every 10 s, also between calls, and find broken connections early.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients look up addresses when they reconnect, and so find new replicas.
    ("grpc.max_connection_age_ms", 300_000),
)


@dataclass(frozen=True)
class _Parts:
    """What stopping has to stop."""

    server: grpc.Server
    bounds: Bounds
    interceptor: CallInterceptor
    health: Health
    calls: CallMetrics
    metrics: MetricsEndpoint | None
    # Shared with a server beside this one, which outlives it, where there is no endpoint.
    tracer: "Tracer | None"


class RunningServer:
    """A server that serves. `port` is 1 for a Unix socket."""

    def __init__(self, parts: _Parts, port: int, drain_seconds: float) -> None:
        self.port = port
        self.metrics_port = parts.metrics.port if parts.metrics else None
        self._parts = parts
        self._drain_seconds = drain_seconds
        self._stopping = Lock()
        self._stopped = False

    @property
    def call_metrics(self) -> CallMetrics:
        """Return what counts its calls."""
        return self._parts.calls

    @property
    def tracer(self) -> "Tracer | None":
        """Return what begins its traces; None where nothing is traced."""
        return self._parts.tracer

    def wait(self) -> None:
        """Serve until SIGTERM or SIGINT, then stop. For the main thread; a second signal ends it at once.

        The program must end within `drain_seconds` and ENDING_SECONDS of the signal; else it is ended with
        code 1, and stderr tells where each thread stood.
        """
        told = Event()

        def tell(_number: int, _frame: FrameType | None) -> None:
            told.set()

        before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
        # A signal that the kernel hands to another thread does not wake this one, which alone runs handlers.
        while not told.wait(_NOTICED_SECONDS):
            pass
        faulthandler.dump_traceback_later(self._drain_seconds + ENDING_SECONDS, exit=True)
        for number, handler in before.items():
            signal.signal(number, handler)
        self.stop()

    def stop(self) -> None:
        """Tell load balancers, give running calls `drain_seconds`, end the rest, free everything."""
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
            parts = self._parts
            parts.health.stop()
            parts.interceptor.end_idle_streams()
            parts.server.stop(self._drain_seconds).wait()
            parts.bounds.lanes.close()
            parts.bounds.stalls.stop()
            if parts.metrics:
                parts.metrics.close()
                if parts.tracer:
                    parts.tracer.close()
        _logger.info("stopped", extra={"port": self.port})


def build(
    settings: ServiceSettings,
    register: Callable[[grpc.Server], None],
    service_names: Sequence[str],
    verifier: Verifier | None,
    *,
    ready: Callable[[], bool],
    registry: CollectorRegistry | RunningServer,
) -> RunningServer:
    """Start a server of the services that `register` adds, with health, reflection and metrics beside them.

    `service_names` are their full names. With another server of this process in place of a registry, calls
    are counted and traced there, and there is no endpoint of its own. Raise ValueError without a verifier
    unless the settings say auth=off, and RuntimeError or OSError where an address is taken.
    """
    if (verifier is None) != (settings.auth == "off"):
        raise ValueError("a server without a verifier needs auth=off, one with a verifier must not have it")
    calls, tracer = _telling(settings, registry)
    bounds = _bounds(settings, tracer)
    interceptor = CallInterceptor(verifier, calls, bounds)
    server = grpc.server(bounds.lanes.calls.pool, interceptors=[interceptor], options=_OPTIONS)
    register(server)
    health = Health(service_names, ready)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    reflection.enable_server_reflection(
        (*service_names, "grpc.health.v1.Health", reflection.SERVICE_NAME), server
    )
    port = _listen(server, settings)
    metrics = None
    if not isinstance(registry, RunningServer):
        expose_health(registry, lambda: health.is_serving)
        metrics = MetricsEndpoint(settings.metrics_address, registry, settings.tls_files)
    health.start()
    bounds.stalls.start()
    server.start()
    _logger.info("serving", extra={"address": settings.address, "port": port, "auth": settings.auth})
    return RunningServer(
        _Parts(server, bounds, interceptor, health, calls, metrics, tracer), port, settings.drain_seconds
    )


def _telling(
    settings: ServiceSettings, registry: CollectorRegistry | RunningServer
) -> "tuple[CallMetrics, Tracer | None]":
    """Return what counts calls and what traces them."""
    if isinstance(registry, RunningServer):
        return registry.call_metrics, registry.tracer
    name = settings.package.rpartition(".")[2]
    return CallMetrics(registry), open_tracer(settings, name, registry)


def _bounds(settings: ServiceSettings, tracer: "Tracer | None") -> Bounds:
    silence = settings.stream_idle_seconds
    lanes = Lanes(
        threads=settings.max_workers,
        maximum_calls=settings.maximum_concurrent_rpcs,
        maximum_streams=settings.streams,
        silence_seconds=silence,
    )
    return Bounds(lanes, Stalls(silence / 4), CallRate(Quotas(), settings.calls_per_minute), tracer)


def _listen(server: grpc.Server, settings: ServiceSettings) -> int:
    files = settings.tls_files
    if files is None:
        return server.add_insecure_port(settings.address)
    return server.add_secure_port(settings.address, grpc_credentials(files))
