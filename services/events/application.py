"""The events service put together; the only place that knows how its parts are built."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from brain.audit.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from brain.events.v1.events_pb2_grpc import EventsServiceServicer, add_EventsServiceServicer_to_server
from brain.metrics.v1.metrics_pb2_grpc import add_MetricSourceServiceServicer_to_server
from brain.privacy.v1.privacy_pb2_grpc import add_PrivacyServiceServicer_to_server
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import add_LogsServiceServicer_to_server
from prometheus_client import CollectorRegistry

from services.events import housekeeping, messages
from services.events.cohorts.calls import CohortCalls
from services.events.cohorts.store import CohortStore
from services.events.conversion.calls import ConversionCalls
from services.events.distribution import is_distributed, note_distribution
from services.events.event_types import EventTypes
from services.events.identity.erasing import Eraser
from services.events.identity.merging import SERVICE, Merger
from services.events.identity.moving import Mover
from services.events.ingest.admission import Admission, DiskGuard
from services.events.ingest.group_commit import GroupCommit
from services.events.ingest.partitions import Partitions
from services.events.ingest.tracking import Tracking
from services.events.ingest.writer import Writer
from services.events.log_records.calls import LogCalls
from services.events.measures import Measures, expose_disk
from services.events.metric_catalog import catalog
from services.events.metric_reader import MetricReader
from services.events.overview.calls import OverviewCalls
from services.events.privacy.exporting import Exporter
from services.events.privacy.identity_calls import IdentityCalls
from services.events.properties.calls import PropertyCalls
from services.events.raw_retention import RawRetention
from services.events.reading.by_property import PropertyCells
from services.events.reading.column_cache import ColumnCache
from services.events.reading.grouped import GroupedCounts
from services.events.reading.scanning import Scanner
from services.events.reading.store import CellStore
from services.events.retention.calls import RetentionCalls
from services.events.rollups.cover import ReportingCalendar
from services.events.rollups.state import keep_reporting_zone
from services.events.saved_metrics.calls import SavedMetricCalls
from services.events.servicer import EventCalls
from services.events.sessions.rebuild import rebuild
from services.events.snapshots.calls import SnapshotCalls
from services.events.users import UserDictionary
from shared.audit import AuditServicer
from shared.auth import verifier_of
from shared.chores import Chore, Housekeeper
from shared.database import expose_pools, is_reachable, open_engine
from shared.metric_source import MetricSource
from shared.privacy_servicer import PrivacyServicer, retelling
from shared.quotas import Quotas
from shared.server import RunningServer, build
from shared.servicers import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from services.events.config import EventsSettings

# One for each chore, and another where history is read beside it.
_HOUSEKEEPING_CONNECTIONS = 8
# For those who merge and erase people, one in the background and two calls; and for dropping partitions.
_CHANGING_CONNECTIONS = 5
SERVICES = (
    "brain.events.v1.EventsService",
    "brain.metrics.v1.MetricSourceService",
    "brain.audit.v1.AuditService",
    "brain.privacy.v1.PrivacyService",
    "opentelemetry.proto.collector.logs.v1.LogsService",
)


@dataclass(frozen=True)
class Application:
    """A running events service."""

    server: RunningServer
    housekeeper: Housekeeper
    opened: ExitStack

    def wait(self) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, then stop."""
        self.server.wait()
        self.stop()

    def stop(self) -> None:
        """Finish the calls under way, write what is queued, let go of the database."""
        self.opened.close()


@dataclass(frozen=True)
class _Engines:
    """Connections: readers in a queue for them hold up neither writers nor the answer to "are you well".

    Calls ask questions through `asking`, perhaps of a standby that lags behind; what they must know as it is
    now, and what they change, goes through `reading`.
    """

    asking: "Engine"
    reading: "Engine"
    writing: "Engine"
    changing: "Engine"
    watching: "Engine"


@dataclass(frozen=True)
class _Changes:
    """What changes events and people, and what is done beside the calls."""

    tracking: Tracking
    merger: Merger
    eraser: Eraser
    chores: "Sequence[Chore]"


def start(settings: "EventsSettings", clock: Callable[[], int]) -> Application:
    """Start the service; `clock` tells the time in Unix microseconds."""
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        reading = open_engine(settings, settings.database_connections, opened, settings.statement_seconds)
        engines = _Engines(
            asking=_asking(settings, reading, opened),
            reading=reading,
            writing=open_engine(settings, settings.writers + _HOUSEKEEPING_CONNECTIONS, opened),
            changing=open_engine(settings, _CHANGING_CONNECTIONS, opened),
            watching=open_engine(settings, 1, opened),
        )
        keep_reporting_zone(engines.writing, settings.reporting_time_zone)
        with engines.writing.begin() as connection:
            found = is_distributed(connection)
        note_distribution(found, engines.asking, reading, engines.writing, engines.changing)
        registry = CollectorRegistry()
        pools = {"calls": engines.reading, "writing": engines.writing, "changing": engines.changing}
        if engines.asking is not engines.reading:
            pools["standby"] = engines.asking
        expose_pools(registry, pools)
        changes = _changes(settings, clock, engines, registry, opened)
        housekeeper = Housekeeper(changes.chores, registry)
        opened.callback(housekeeper.stop)
        server = build(
            settings,
            _registration(settings, clock, engines, changes),
            SERVICES,
            verifier_of(settings),
            ready=lambda: is_reachable(engines.watching),
            registry=registry,
        )
        opened.callback(server.stop)
        return Application(server, housekeeper, opened.pop_all())


def _asking(settings: "EventsSettings", reading: "Engine", opened: ExitStack) -> "Engine":
    url = settings.read_database_url
    if url is None:
        return reading
    return open_engine(settings, settings.database_connections, opened, settings.statement_seconds, url)


def _changes(
    settings: "EventsSettings",
    clock: Callable[[], int],
    engines: _Engines,
    registry: CollectorRegistry,
    opened: ExitStack,
) -> _Changes:
    writing, changing = engines.writing, engines.changing
    calendar = ReportingCalendar(settings.reporting_time_zone)
    partitions = Partitions(writing)
    types = EventTypes(writing, settings.maximum_event_types)
    writer = Writer(writing, _users(writing, settings), types, partitions, calendar, clock)
    mover = Mover(changing, calendar, corrections=(rebuild,))
    merger = Merger(changing, mover)
    commits = GroupCommit(writer.write, writers=settings.writers, queue_events=settings.queue_events)
    opened.callback(commits.close)
    measures = Measures(registry, commits.queued_events, settings.queue_events)
    retention = RawRetention(settings.raw_retention_months)
    guard = DiskGuard(settings.disk_path, settings.minimum_free_bytes)
    if settings.disk_path is not None:
        expose_disk(registry, settings.disk_path, settings.minimum_free_bytes)
    admission = Admission(guard, Quotas(), settings.events_per_minute)
    tracking = Tracking(commits, types, admission.admit, clock, measures, retention.earliest)
    chores = (
        housekeeping.compaction(writing, measures),
        housekeeping.session_folding(writing),
        housekeeping.order_sets(writing, clock),
        housekeeping.chunk_storing(writing, retention, clock),
        housekeeping.partitions_ahead(partitions, clock),
        housekeeping.registered_properties(writing, calendar),
        housekeeping.stalled_copies(writing, settings.stalled_copy_seconds),
        housekeeping.raw_retention(changing, retention, clock),
        housekeeping.merges(merger, mover, writer.merges_asked),
        housekeeping.collecting(),
    )
    return _Changes(tracking, merger, _eraser(changing, settings, mover, clock), chores)


def _registration(
    settings: "EventsSettings", clock: Callable[[], int], engines: _Engines, changes: _Changes
) -> Callable[[grpc.Server], None]:
    zone = settings.reporting_time_zone
    calendar = ReportingCalendar(zone)
    asking, reading = engines.asking, engines.reading
    cells, properties = CellStore(asking, calendar), PropertyCells(asking, calendar)
    scanner = Scanner(asking)
    columns = ColumnCache(scanner, settings.column_cache_bytes)
    grouped = GroupedCounts(asking)
    metrics = catalog(columns, asking)
    people = _users(asking, settings)
    groups = [
        EventCalls(changes.tracking, asking, cells, grouped, properties, scanner, people, zone, clock),
        ConversionCalls(columns, zone, clock),
        RetentionCalls(cells, properties, zone, clock),
        CohortCalls(CohortStore(reading), cells, zone, clock),
        OverviewCalls(metrics, cells, zone, clock),
        SavedMetricCalls(reading, clock),
        IdentityCalls(_users(reading, settings), changes.merger),
        PropertyCalls(reading, clock),
        SnapshotCalls(reading, clock),
    ]
    reader = MetricReader(metrics, cells, properties, zone, clock)
    source = MetricSource(reader.descriptors(), reader.read, reader.read_all)
    exporter = Exporter(reading, settings.keyring, settings.blind_index)
    logs = LogCalls.made_with(changes.tracking, settings.blind_index)

    def register(server: grpc.Server) -> None:
        add_EventsServiceServicer_to_server(joined(EventsServiceServicer, groups), server)
        add_MetricSourceServiceServicer_to_server(source, server)
        add_AuditServiceServicer_to_server(AuditServicer(reading), server)
        add_PrivacyServiceServicer_to_server(PrivacyServicer(messages.who, exporter, changes.eraser), server)
        add_LogsServiceServicer_to_server(logs, server)  # type: ignore[no-untyped-call]  # it ships no types

    return register


def _users(engine: "Engine", settings: "EventsSettings") -> UserDictionary:
    return UserDictionary(engine, settings.keyring, settings.blind_index, settings.cached_users)


def _eraser(engine: "Engine", settings: "EventsSettings", mover: Mover, clock: Callable[[], int]) -> Eraser:
    return retelling(
        settings.erasure_journal,
        SERVICE,
        lambda journal: Eraser(engine, settings.keyring, settings.blind_index, mover, journal, clock),
    )
