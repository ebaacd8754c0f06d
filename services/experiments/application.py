"""The experiments service put together; the only place that knows how its parts are built."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from brain.audit.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.experiments.v1.experiments_pb2_grpc import (
    ExperimentsServiceServicer,
    add_ExperimentsServiceServicer_to_server,
)
from brain.experiments.v1.statistics_pb2_grpc import add_StatisticsServiceServicer_to_server
from brain.metrics.v1.metrics_pb2_grpc import add_MetricSourceServiceServicer_to_server
from brain.privacy.v1.privacy_pb2_grpc import add_PrivacyServiceServicer_to_server
from flagd.evaluation.v2.evaluation_pb2_grpc import add_ServiceServicer_to_server
from prometheus_client import CollectorRegistry

from services.experiments.assigning.assigner import Assigner
from services.experiments.assigning.calls import AssignmentCalls
from services.experiments.assigning.store import AssignmentStore
from services.experiments.catalogue import Catalogue
from services.experiments.flags.calls import FlagCalls
from services.experiments.flags.servicer import FlagServicer
from services.experiments.flags.streams import EventStreams
from services.experiments.lifecycle.calls import LifecycleCalls
from services.experiments.metric_reader import METRICS, MetricReader
from services.experiments.privacy.asked import read_who
from services.experiments.privacy.erasing import Eraser
from services.experiments.privacy.exporting import Exporter
from services.experiments.results.calls import ResultCalls
from services.experiments.results.feeds import EventFeeds
from services.experiments.results.folding import Folder, folding
from services.experiments.results.identities import Identities
from services.experiments.results.reader import ResultReader
from services.experiments.results.scanning import Scanner
from services.experiments.results.warming import warming
from services.experiments.statistics_servicer import StatisticsServicer
from services.experiments.tracking.calls import TrackingCalls
from services.experiments.tracking.store import TrackingStore
from shared.audit import AuditServicer
from shared.auth import verifier_of
from shared.chores import Chore, Housekeeper
from shared.clients import open_channel
from shared.database import expose_pools, is_reachable, open_engine
from shared.metric_source import MetricSource
from shared.people import UserDictionary
from shared.privacy_servicer import PrivacyServicer, retelling
from shared.server import RunningServer, build
from shared.servicers import joined
from shared.who import Who

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from services.experiments.config import ExperimentsSettings

SERVICES = (
    "brain.experiments.v1.ExperimentsService",
    "brain.experiments.v1.StatisticsService",
    "brain.metrics.v1.MetricSourceService",
    "brain.audit.v1.AuditService",
    "brain.privacy.v1.PrivacyService",
)


FLAG_SERVICES = ("flagd.evaluation.v2.Service",)


@dataclass(frozen=True)
class Application:
    """A running experiments service; `flags` is the server that flagd's providers ask."""

    server: RunningServer
    flags: RunningServer
    catalogue: Catalogue
    opened: ExitStack

    def wait(self) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, then stop."""
        self.server.wait()
        self.stop()

    def stop(self) -> None:
        """Finish the calls under way, let go of the database."""
        self.opened.close()


def start(settings: "ExperimentsSettings", clock: Callable[[], int]) -> Application:
    """Start the service; `clock` tells the time in Unix microseconds."""
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        engine = open_engine(settings, settings.database_connections, opened, settings.statement_seconds)
        watching = open_engine(settings, 1, opened)
        catalogue = Catalogue(engine)
        users = UserDictionary(engine, settings.keyring, settings.blind_index)
        assignments = AssignmentStore(engine, users)
        assigner = Assigner(catalogue, assignments, clock, settings.cached_assignments)
        feeds = _feeds(settings, users, clock, opened)
        reader = ResultReader(feeds)
        groups = [
            LifecycleCalls(engine, catalogue, clock, reads_events=feeds is not None),
            AssignmentCalls(engine, assigner, assignments, clock),
            FlagCalls(assigner),
            TrackingCalls(catalogue, TrackingStore(engine, users), clock),
            ResultCalls(engine, catalogue, reader, clock, settings.reporting_time_zone),
        ]
        metrics = MetricReader(engine, reader, clock, settings.reporting_time_zone)
        privacy = _privacy(settings, users, catalogue, clock)

        def ready() -> bool:
            return is_reachable(watching)

        registry = CollectorRegistry()
        expose_pools(registry, {"calls": engine})
        server = build(
            settings,
            lambda server: _register(server, groups, metrics, privacy, engine),
            SERVICES,
            verifier_of(settings),
            ready=ready,
            registry=registry,
        )
        opened.callback(server.stop)
        flags = _flag_server(settings, assigner, catalogue, ready, server, opened)
        chores = _chores(engine, catalogue, reader)
        opened.callback(Housekeeper(chores, registry, server.tracer).stop)
        return Application(server, flags, catalogue, opened.pop_all())


def _chores(engine: "Engine", catalogue: Catalogue, reader: ResultReader) -> list[Chore]:
    chores = [folding(Folder(engine), catalogue)]
    return chores if reader.feeds is None else [*chores, warming(engine, catalogue, reader.feeds)]


def _feeds(
    settings: "ExperimentsSettings", users: UserDictionary, clock: Callable[[], int], opened: ExitStack
) -> EventFeeds | None:
    if settings.events_address is None:
        return None
    events = open_channel(settings.events_address, settings.events_token_file, settings.events_tls, opened)
    stub = EventsServiceStub(events)
    return EventFeeds(Scanner(stub, clock), Identities(stub, users))


def _register(
    server: grpc.Server,
    groups: "Sequence[object]",
    metrics: MetricReader,
    privacy: PrivacyServicer[Who | None],
    engine: "Engine",
) -> None:
    add_ExperimentsServiceServicer_to_server(joined(ExperimentsServiceServicer, groups), server)
    add_StatisticsServiceServicer_to_server(StatisticsServicer(), server)
    add_MetricSourceServiceServicer_to_server(MetricSource(METRICS, metrics.read), server)
    add_AuditServiceServicer_to_server(AuditServicer(engine), server)
    add_PrivacyServiceServicer_to_server(privacy, server)


def _privacy(
    settings: "ExperimentsSettings", users: UserDictionary, catalogue: Catalogue, clock: Callable[[], int]
) -> PrivacyServicer[Who | None]:
    """Return who exports and erases, once whom a restored database holds is erased again."""
    eraser = retelling(
        settings.erasure_journal,
        "experiments",
        lambda journal: Eraser(users.engine, users, catalogue, journal, clock),
    )
    return PrivacyServicer(read_who, Exporter(users.engine, users), eraser)


def _flag_server(
    settings: "ExperimentsSettings",
    assigner: Assigner,
    catalogue: Catalogue,
    ready: Callable[[], bool],
    beside: RunningServer,
    opened: ExitStack,
) -> RunningServer:
    """Serve flags on their own address, with their own limits: event streams stay open for days."""
    open_to_all = settings.flagd_auth == "off"
    own = settings.model_copy(
        update={
            "address": settings.flagd_address,
            "auth": "off" if open_to_all else settings.auth,
            "maximum_concurrent_rpcs": settings.flagd_maximum_calls,
        }
    )
    streams = EventStreams(catalogue)
    server = build(
        own,
        lambda server: add_ServiceServicer_to_server(FlagServicer(assigner, streams), server),
        FLAG_SERVICES,
        None if open_to_all else verifier_of(settings),
        ready=ready,
        registry=beside,
    )
    opened.callback(server.stop)
    streams.start()
    opened.callback(streams.stop)  # they would keep the server from stopping
    return server
