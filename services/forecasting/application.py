"""The forecasting service put together; the only place that knows how its parts are built."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.audit.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.forecasting.v1 import forecasting_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import (
    ForecastingServiceServicer,
    add_ForecastingServiceServicer_to_server,
)
from brain.metrics.v1.metrics_pb2_grpc import (
    MetricSourceServiceStub,
    add_MetricSourceServiceServicer_to_server,
)
from brain.privacy.v1.privacy_pb2_grpc import add_PrivacyServiceServicer_to_server
from prometheus_client import CollectorRegistry

from services.forecasting.anomalies.calls import AnomalyCalls
from services.forecasting.customers.calls import CustomerCalls
from services.forecasting.customers.keeping import CustomerKeeper
from services.forecasting.customers.reading import CustomerReader
from services.forecasting.forecasts.calls import ForecastCalls
from services.forecasting.forecasts.keeping import Keeper
from services.forecasting.metric_reader import METRICS, MetricReader
from services.forecasting.predictions.actuals import ActualReader, actual_values
from services.forecasting.predictions.calls import PredictionCalls
from services.forecasting.privacy.erasing import Eraser
from services.forecasting.privacy.exporting import Exporter
from services.forecasting.sources import EVENTS, Sources
from shared.audit import AuditServicer
from shared.auth import verifier_of
from shared.calendar import MICROS
from shared.chores import Housekeeper
from shared.clients import open_channel
from shared.database import expose_pools, is_reachable, open_engine
from shared.metric_source import MetricSource
from shared.people import UserDictionary, who_of
from shared.privacy_servicer import PrivacyServicer, retelling
from shared.server import RunningServer, build
from shared.servicers import joined
from shared.who import Who

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc
    from sqlalchemy import Engine

    from services.forecasting.config import ForecastingSettings

SERVICES = (
    # The module is needed: it holds no messages, so nothing else loads it, and roles stand in it.
    forecasting_pb2.DESCRIPTOR.services_by_name["ForecastingService"].full_name,
    "brain.metrics.v1.MetricSourceService",
    "brain.audit.v1.AuditService",
    "brain.privacy.v1.PrivacyService",
)


@dataclass(frozen=True)
class Application:
    """A running forecasting service."""

    server: RunningServer
    actuals: ActualReader
    opened: ExitStack

    def wait(self) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, then stop."""
        self.server.wait()
        self.stop()

    def stop(self) -> None:
        """Finish the calls under way, let go of the database and the sources."""
        self.opened.close()


@dataclass(frozen=True)
class _Parts:
    """What the calls are made of."""

    settings: "ForecastingSettings"
    clock: Callable[[], int]
    engine: "Engine"
    sources: Sources
    reader: CustomerReader | None
    users: UserDictionary
    customers: CustomerKeeper

    def groups(self) -> list[object]:
        """Return the calls of the contract by subject."""
        zone, grace = self.settings.reporting_time_zone, self.customers.grace_micros
        keeper = Keeper(self.engine, self.clock, grace)
        return [
            ForecastCalls(self.sources, keeper, zone, self.clock),
            AnomalyCalls(self.sources, zone, self.clock),
            CustomerCalls(self.reader, self.customers, self.clock),
            PredictionCalls(self.engine, self.sources, self.users, self.clock, grace),
        ]


def start(settings: "ForecastingSettings", clock: Callable[[], int]) -> Application:
    """Start the service; `clock` tells the time in Unix microseconds."""
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        engine = open_engine(settings, settings.database_connections, opened, settings.statement_seconds)
        watching = open_engine(settings, 1, opened)
        channels = {
            name: open_channel(address, settings.sources_token_file, settings.sources_tls, opened)
            for name, address in settings.metric_sources.items()
        }
        parts = _parts(settings, clock, engine, channels)
        privacy = _privacy(settings, parts)
        metrics = MetricReader(parts.sources, settings.reporting_time_zone, clock)

        def register(server: "grpc.Server") -> None:
            servicer = joined(ForecastingServiceServicer, parts.groups())
            add_ForecastingServiceServicer_to_server(servicer, server)
            add_MetricSourceServiceServicer_to_server(MetricSource(METRICS, metrics.read), server)
            add_AuditServiceServicer_to_server(AuditServicer(engine), server)
            add_PrivacyServiceServicer_to_server(privacy, server)

        registry = CollectorRegistry()
        expose_pools(registry, {"calls": engine})
        server = build(
            settings,
            register,
            SERVICES,
            verifier_of(settings),
            ready=lambda: is_reachable(watching),
            registry=registry,
        )
        opened.callback(server.stop)
        actuals = ActualReader(engine, parts.sources, parts.customers, parts.reader, clock)
        opened.callback(Housekeeper([actual_values(actuals)], registry, server.tracer).stop)
        return Application(server, actuals, opened.pop_all())


def _privacy(settings: "ForecastingSettings", parts: _Parts) -> PrivacyServicer[Who]:
    """Return who exports and erases, once whom a restored database holds is erased again."""
    eraser = retelling(
        settings.erasure_journal,
        "forecasting",
        lambda journal: Eraser(parts.engine, parts.users, journal, parts.clock),
    )
    return PrivacyServicer(who_of, Exporter(parts.engine, parts.users), eraser)


def _parts(
    settings: "ForecastingSettings",
    clock: Callable[[], int],
    engine: "Engine",
    channels: "Mapping[str, grpc.Channel]",
) -> _Parts:
    zone = settings.reporting_time_zone
    stubs = {name: MetricSourceServiceStub(opened) for name, opened in channels.items()}
    users = UserDictionary(engine, settings.keyring, settings.blind_index)
    reader = CustomerReader(EventsServiceStub(channels[EVENTS]), zone) if EVENTS in channels else None
    grace = round(settings.actuals_grace_seconds * MICROS)
    customers = CustomerKeeper(engine, users, clock, grace)
    return _Parts(settings, clock, engine, Sources(stubs, zone), reader, users, customers)
