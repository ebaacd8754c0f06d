"""The funnels service put together; the only place that knows how its parts are built."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from brain.audit.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceServicer, add_FunnelsServiceServicer_to_server
from brain.metrics.v1.metrics_pb2_grpc import add_MetricSourceServiceServicer_to_server
from brain.privacy.v1.privacy_pb2_grpc import add_PrivacyServiceServicer_to_server
from prometheus_client import CollectorRegistry

from services.funnels.analysis.analyst import Analyst
from services.funnels.analysis.calls import CountingCalls
from services.funnels.analysis.dropoff_calls import DropoffCalls
from services.funnels.analysis.found import FoundCache
from services.funnels.analysis.people_calls import PeopleCalls
from services.funnels.keeping.calls import KeepingCalls
from services.funnels.metric_reader import METRICS, MetricReader
from services.funnels.privacy.erasing import Eraser
from services.funnels.privacy.exporting import Exporter
from services.funnels.privacy.same_person import SamePerson
from services.funnels.reading.chunks import ChunkCache
from services.funnels.reading.identities import Identities
from services.funnels.reading.loading import Loader
from services.funnels.reading.scanning import Scanner
from services.funnels.reading.unseen import UnseenEvents
from services.funnels.tracking.calls import TrackingCalls
from services.funnels.tracking.store import RecordStore
from shared.audit import AuditServicer
from shared.auth import verifier_of
from shared.clients import open_channel
from shared.database import expose_pools, is_reachable, open_engine
from shared.metric_source import MetricSource
from shared.people import UserDictionary, who_of
from shared.privacy_servicer import PrivacyServicer, retelling
from shared.server import RunningServer, build
from shared.servicers import joined
from shared.who import Who

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.funnels.config import FunnelsSettings

SERVICES = (
    "brain.funnels.v1.FunnelsService",
    "brain.metrics.v1.MetricSourceService",
    "brain.privacy.v1.PrivacyService",
    "brain.audit.v1.AuditService",
)


@dataclass(frozen=True)
class Application:
    """A running funnels service."""

    server: RunningServer
    cache: ChunkCache
    opened: ExitStack

    def wait(self) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, then stop."""
        self.server.wait()
        self.stop()

    def stop(self) -> None:
        """Finish the calls under way, let go of the database."""
        self.opened.close()


def start(settings: "FunnelsSettings", clock: Callable[[], int]) -> Application:
    """Start the service; `clock` tells the time in Unix microseconds."""
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        engine = open_engine(settings, settings.database_connections, opened, settings.statement_seconds)
        watching = open_engine(settings, 1, opened)
        events = EventsServiceStub(
            open_channel(settings.events_address, settings.events_token_file, settings.events_tls, opened)
        )
        cache = ChunkCache(settings.column_cache_bytes - settings.column_cache_bytes // 4)
        parts = _Parts(settings, engine, events, cache, clock)
        registry = CollectorRegistry()
        expose_pools(registry, {"calls": engine})
        server = build(
            settings,
            parts.register,
            SERVICES,
            verifier_of(settings),
            ready=lambda: is_reachable(watching),
            registry=registry,
        )
        opened.callback(server.stop)
        return Application(server, cache, opened.pop_all())


@dataclass(frozen=True)
class _Parts:
    settings: "FunnelsSettings"
    engine: "Engine"
    events: EventsServiceStub
    cache: ChunkCache
    clock: Callable[[], int]

    def register(self, server: grpc.Server) -> None:
        """Build what answers calls, and add it to a server."""
        settings, engine, events, clock = self.settings, self.engine, self.events, self.clock
        users = UserDictionary(engine, settings.keyring, settings.blind_index)
        records = RecordStore(users)
        identities = Identities(events, users)
        unseen = UnseenEvents(events)
        loader = Loader(engine, events, Scanner(events, self.cache), records, identities)
        analyst = Analyst(loader, FoundCache(settings.column_cache_bytes // 4), clock)
        groups = [
            KeepingCalls(engine, unseen, clock),
            TrackingCalls(engine, users, records, clock),
            CountingCalls(engine, analyst, unseen, settings.reporting_time_zone),
            PeopleCalls(engine, analyst, identities),
            DropoffCalls(engine, events, analyst),
        ]
        add_FunnelsServiceServicer_to_server(joined(FunnelsServiceServicer, groups), server)
        reader = MetricReader(engine, analyst, settings.reporting_time_zone)
        add_MetricSourceServiceServicer_to_server(MetricSource(METRICS, reader.read), server)
        add_PrivacyServiceServicer_to_server(self._privacy(users, identities), server)
        add_AuditServiceServicer_to_server(AuditServicer(engine), server)

    def _privacy(self, users: UserDictionary, identities: Identities) -> PrivacyServicer[Who]:
        """Return what answers about people's data; what a journal knows of erasures is applied before."""
        same_person = SamePerson(users, identities)
        eraser = retelling(
            self.settings.erasure_journal,
            "funnels",
            lambda journal: Eraser(self.engine, users, same_person, journal, self.clock),
        )
        return PrivacyServicer(who_of, Exporter(self.engine, users, same_person), eraser)
