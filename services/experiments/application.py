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
from flagd.evaluation.v2.evaluation_pb2_grpc import add_ServiceServicer_to_server
from prometheus_client import CollectorRegistry

from services.experiments.assigning.assigner import Assigner
from services.experiments.assigning.calls import AssignmentCalls
from services.experiments.assigning.store import AssignmentStore
from services.experiments.catalogue import Catalogue
from services.experiments.flags.servicer import FlagServicer
from services.experiments.flags.streams import EventStreams
from services.experiments.lifecycle.calls import LifecycleCalls
from services.experiments.metric_reader import METRICS, MetricReader
from services.experiments.results.background import FoldingThread
from services.experiments.results.calls import ResultCalls
from services.experiments.results.feeds import EventFeeds, ResultReader
from services.experiments.results.folding import Folder
from services.experiments.statistics_servicer import StatisticsServicer
from services.experiments.tracking.calls import TrackingCalls
from services.experiments.tracking.store import TrackingStore
from services.experiments.users import UserDictionary
from shared.audit import AuditServicer
from shared.auth import verifier_of
from shared.clients import channel
from shared.database import create_engine, is_reachable
from shared.encryption import BlindIndex, Keyring
from shared.metric_source import MetricSource
from shared.server import RunningServer, build
from shared.servicers import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from services.experiments.config import ExperimentsSettings

SERVICES = (
    "brain.experiments.v1.ExperimentsService",
    "brain.experiments.v1.StatisticsService",
    "brain.metrics.v1.MetricSourceService",
    "brain.audit.v1.AuditService",
)


FLAG_SERVICES = ("flagd.evaluation.v2.Service",)


@dataclass(frozen=True)
class Application:
    """A running experiments service; `flags` is the server that flagd's providers ask."""

    server: RunningServer
    flags: RunningServer
    streams: EventStreams
    folding: FoldingThread
    # To the events service, where there is one.
    events: grpc.Channel | None
    catalogue: Catalogue
    engines: "tuple[Engine, ...]"

    def wait(self) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, then stops."""
        self.server.wait()
        self.stop()

    def stop(self) -> None:
        """Finishes the calls under way, lets go of the database."""
        self.folding.stop()
        self.streams.stop()
        self.flags.stop()
        self.server.stop()
        if self.events is not None:
            self.events.close()
        for engine in self.engines:
            engine.dispose()


def start(settings: "ExperimentsSettings", clock: Callable[[], int]) -> Application:
    """Start the service.

    Args:
        settings: where and how.
        clock: the time in Unix microseconds.

    """
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        application = _open(settings, clock, opened)
        opened.pop_all()
    return application


def _open(settings: "ExperimentsSettings", clock: Callable[[], int], opened: ExitStack) -> Application:
    engine = _engine(settings, settings.database_connections, opened)
    watching = _engine(settings, 1, opened)
    catalogue = Catalogue(engine)
    users = _users(engine, settings)
    assignments = AssignmentStore(engine, users)
    assigner = Assigner(catalogue, assignments, clock, settings.cached_assignments)
    events = _events(settings, opened)
    feeds = None if events is None else EventFeeds(EventsServiceStub(events), users, clock)
    reader = ResultReader(feeds)
    groups = [
        LifecycleCalls(engine, catalogue, clock, reads_events=feeds is not None),
        AssignmentCalls(engine, assigner, assignments, clock),
        TrackingCalls(catalogue, TrackingStore(engine, users), clock),
        ResultCalls(engine, catalogue, reader, clock, settings.reporting_time_zone),
    ]
    read = MetricReader(engine, reader, clock, settings.reporting_time_zone).read
    metrics = MetricSource(METRICS, read)

    def ready() -> bool:
        return is_reachable(watching)

    server = build(
        settings,
        lambda server: _register(server, groups, metrics, engine),
        SERVICES,
        verifier_of(settings),
        ready=ready,
        registry=CollectorRegistry(),
    )
    opened.callback(server.stop)
    streams = EventStreams(catalogue)
    flags = _flag_server(settings, FlagServicer(assigner, streams), server, ready)
    folding = FoldingThread(Folder(engine), catalogue)
    streams.start()
    folding.start()
    return Application(server, flags, streams, folding, events, catalogue, (engine, watching))


def _events(settings: "ExperimentsSettings", opened: ExitStack) -> grpc.Channel | None:
    if settings.events_address is None:
        return None
    token, authority = settings.events_token_file, settings.events_ca_file
    calls = channel(
        settings.events_address,
        None if token is None else token.read_text().strip(),
        ca_pem=None if authority is None else authority.read_bytes(),
    )
    opened.callback(calls.close)
    return calls


def _register(
    server: grpc.Server, groups: "Sequence[object]", metrics: MetricSource, engine: "Engine"
) -> None:
    add_ExperimentsServiceServicer_to_server(joined(ExperimentsServiceServicer, groups), server)
    add_StatisticsServiceServicer_to_server(StatisticsServicer(), server)
    add_MetricSourceServiceServicer_to_server(metrics, server)
    add_AuditServiceServicer_to_server(AuditServicer(engine), server)


def _flag_server(
    settings: "ExperimentsSettings",
    servicer: FlagServicer,
    beside: RunningServer,
    ready: Callable[[], bool],
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
    return build(
        own,
        lambda server: add_ServiceServicer_to_server(servicer, server),
        FLAG_SERVICES,
        None if open_to_all else verifier_of(settings),
        ready=ready,
        registry=beside.call_metrics,
    )


def _users(engine: "Engine", settings: "ExperimentsSettings") -> UserDictionary:
    return UserDictionary(
        engine,
        Keyring.parse(settings.encryption_keys.get_secret_value()),
        BlindIndex.parse(settings.blind_index_key.get_secret_value()),
    )


def _engine(settings: "ExperimentsSettings", pool_size: int, opened: ExitStack) -> "Engine":
    engine = create_engine(
        settings.database_url,
        schema=settings.database_schema,
        pool_size=pool_size,
        application_name="brain-experiments",
        statement_seconds=settings.statement_seconds,
    )
    opened.callback(engine.dispose)
    return engine
