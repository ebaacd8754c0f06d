"""The gateway put together; the only place that knows how its parts are built."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import failures, measures, services
from gateway.access import Access
from gateway.access_log import AccessLog
from gateway.bodies import BodyLimits
from gateway.capture import routes as capture
from gateway.capture.delivery import Delivery
from gateway.config import secret_bytes, sources_by_key
from gateway.dashboard import routes as dashboard
from gateway.dashboard import tabs
from gateway.dashboard.page.surroundings import Surroundings
from gateway.measures import Measures
from gateway.ofrep import routes as ofrep
from gateway.rest import routes as rest
from gateway.services import Services
from shared.auth import verifier_of
from shared.encryption import Keyring
from shared.errors import ServiceError
from shared.metrics import MetricsEndpoint
from shared.tls import https_context
from shared.tracing import open_tracer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from gateway.config import GatewaySettings
    from gateway.dashboard.page.tab import Tab
    from shared.spans import Tracer

_BACKLOG = 2_048


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that serves."""

    port: int
    metrics: MetricsEndpoint
    server: uvicorn.Server
    serving: "asyncio.Task[None]"
    services: Services
    tracer: "Tracer | None"

    async def wait(self) -> None:
        """Serve until SIGTERM or SIGINT, or until another task stops it; then free everything."""
        try:
            await self.serving
        finally:
            await self.services.close()
            self.metrics.close()
            if self.tracer is not None:
                await asyncio.to_thread(self.tracer.close)

    async def stop(self) -> None:
        """Give running requests their time, end the rest, free everything."""
        self.server.should_exit = True
        await self.wait()


async def start(
    settings: "GatewaySettings", clock: Callable[[], float], shown: "tuple[Tab, ...]" = tabs.TABS
) -> RunningGateway:
    """Start the gateway on the event loop that runs; raise OSError where an address is taken.

    `clock` tells Unix seconds; `shown` are the dashboard's tabs.
    """
    registry = CollectorRegistry()
    counts = measures.create(registry)
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        listener = _listen(settings.address)
        opened.callback(listener.close)
        metrics = MetricsEndpoint(settings.metrics_address, registry, settings.tls_files)
        opened.callback(metrics.close)
        tracer = open_tracer(settings, "gateway", registry)
        if tracer is not None:
            opened.callback(tracer.close)
        behind = services.connect(settings, tracer)
        application = AccessLog(build(settings, behind, counts, clock, shown), counts, tracer)
        server = uvicorn.Server(_server_settings(settings, application))
        opened.pop_all()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    return RunningGateway(listener.getsockname()[1], metrics, server, serving, behind, tracer)


def build(
    settings: "GatewaySettings",
    behind: Services,
    counts: Measures,
    clock: Callable[[], float],
    shown: "tuple[Tab, ...]",
) -> "ASGIApp":
    """Return the application over services."""
    access = Access(verifier_of(settings), clock)
    limits = BodyLimits(settings.maximum_body_bytes, settings.body_seconds)
    return Starlette(
        routes=[
            Route("/healthz", _health(behind), methods=["GET"]),
            *rest.routes(rest.Edge(behind, access, limits, clock, settings.reporting_time_zone)),
            *capture.routes(_capture(settings, behind, counts, clock)),
            *ofrep.routes(ofrep.Ofrep(behind, access, limits)),
            *dashboard.routes(_surroundings(settings, behind, access, shown), shown),
        ],
        exception_handlers={
            ServiceError: _failed,
            failures.Refused: _failed,
            grpc.aio.AioRpcError: _failed,
            services.NotConnectedError: _failed,
            HTTPException: _failed,
            Exception: _failed,
        },
    )


def _capture(
    settings: "GatewaySettings", behind: Services, counts: Measures, clock: Callable[[], float]
) -> capture.Capture:
    token = settings.ingest_token.get_secret_value() if settings.ingest_token else ""
    return capture.Capture(
        delivery=Delivery(behind, token, counts),
        limits=BodyLimits(settings.maximum_body_bytes, settings.body_seconds),
        sources=sources_by_key(settings.write_keys),
        session_key=secret_bytes(settings.secret),
        drops_on_signal=settings.privacy_signals == "drop",
        clock=clock,
    )


def _surroundings(
    settings: "GatewaySettings", behind: Services, access: Access, shown: "tuple[Tab, ...]"
) -> Surroundings:
    return Surroundings(
        services=behind,
        access=access,
        cookie_keys=Keyring.parse(f"1:{settings.secret.get_secret_value()}"),
        reporting_zone=settings.reporting_time_zone,
        tab_titles={tab.name: tab.title for tab in shown},
        environment=settings.environment,
        currency=settings.currency,
        secure_cookies=settings.secure_cookies or settings.tls_key_file is not None,
        write_key=next(iter(sources_by_key(settings.write_keys)), ""),
        events_address=settings.events_address,
    )


async def _failed(_request: "Request", error: Exception) -> Response:
    headers = error.headers if isinstance(error, HTTPException) else None
    return failures.response(failures.of_error(error), headers)


def _health(behind: Services) -> Callable[["Request"], object]:
    async def health(_request: "Request") -> Response:
        """Tell load balancers whether requests can be answered."""
        serving = await behind.are_serving()
        return JSONResponse({"status": "serving" if serving else "not serving"}, 200 if serving else 503)

    return health


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP's, or asyncio leaves Nagle's algorithm on: an answer's second packet waits 40 ms then.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
    except OSError:
        listener.close()
        raise
    return listener


def _server_settings(settings: "GatewaySettings", application: "ASGIApp") -> uvicorn.Config:
    files = settings.tls_files
    return uvicorn.Config(
        application,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=settings.maximum_connections,
        timeout_graceful_shutdown=round(settings.drain_seconds),
        ssl_context_factory=None if files is None else lambda _config, _default: https_context(files),
    )
