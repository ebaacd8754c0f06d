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
from prometheus_client import CollectorRegistry

from services.events import housekeeping, messages
from services.events.cohorts.calls import CohortCalls
from services.events.cohorts.store import CohortStore
from services.events.conversion.calls import ConversionCalls
from services.events.event_types import EventTypes
from services.events.identity.erasing import Eraser
from services.events.identity.merging import SERVICE, Merger
from services.events.identity.moving import Mover
from services.events.ingest.admission import Admission, DiskGuard
from services.events.ingest.group_commit import GroupCommit
from services.events.ingest.partitions import Partitions
from services.events.ingest.quotas import Quotas
from services.events.ingest.tracking import Tracking
from services.events.ingest.writer import Writer
from services.events.measures import Measures
from services.events.metric_catalog import catalog
from services.events.metric_reader import MetricReader
from services.events.overview.calls import OverviewCalls
from services.events.privacy.exporting import Exporter
from services.events.privacy.link_calls import LinkCalls
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
from shared.database import create_engine, is_reachable
from shared.encryption import BlindIndex, Keyring
from shared.metric_source import MetricSource
from shared.privacy_servicer import PrivacyServicer
from shared.server import RunningServer, build
from shared.servicers import joined
from shared.tombstones import Journal

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.events.config import EventsSettings

# One for each chore, and another where history is read beside it.
_HOUSEKEEPING_CONNECTIONS = 7
# For those who merge and erase people, one in the background and two calls; and for dropping partitions.
_CHANGING_CONNECTIONS = 5
SERVICES = (
    "brain.events.v1.EventsService",
    "brain.metrics.v1.MetricSourceService",
    "brain.audit.v1.AuditService",
    "brain.privacy.v1.PrivacyService",
)


@dataclass(frozen=True)
class Application:
    """A running events service."""

    server: RunningServer
    housekeeper: housekeeping.Housekeeper
    commits: GroupCommit
    engines: "tuple[Engine, ...]"

    def wait(self) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, then stops."""
        self.server.wait()
        self.stop()

    def stop(self) -> None:
        """Finishes the calls under way, writes what is queued, lets go of the database."""
        self.server.stop()
        self.commits.close()
        self.housekeeper.stop()
        for engine in self.engines:
            engine.dispose()


def start(settings: "EventsSettings", clock: Callable[[], int]) -> Application:
    """Start the service.

    Args:
        settings: where and how.
        clock: the time in Unix microseconds.

    """
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        application = _open(settings, clock, opened)
        opened.pop_all()
    return application


def _open(settings: "EventsSettings", clock: Callable[[], int], opened: ExitStack) -> Application:
    # Readers in a queue for connections hold up neither writers nor the answer to "are you well".
    reading = _engine(settings, settings.database_connections, opened, settings.statement_seconds)
    writing = _engine(settings, settings.writers + _HOUSEKEEPING_CONNECTIONS, opened)
    changing = _engine(settings, _CHANGING_CONNECTIONS, opened)
    watching = _engine(settings, 1, opened)
    keep_reporting_zone(writing, settings.reporting_time_zone)
    calendar = ReportingCalendar(settings.reporting_time_zone)
    partitions = Partitions(writing)
    types = EventTypes(writing, settings.maximum_event_types)
    writer = Writer(writing, _users(writing, settings), types, partitions, calendar, clock)
    mover = Mover(changing, calendar, corrections=(rebuild,))
    merger = Merger(changing, mover)
    eraser = _eraser(changing, settings, mover, clock)
    commits = GroupCommit(writer.write, writers=settings.writers, queue_events=settings.queue_events)
    opened.callback(commits.close)
    registry = CollectorRegistry()
    measures = Measures(registry, commits.queued_events)
    guard = DiskGuard(settings.disk_path, settings.minimum_free_bytes)
    retention = RawRetention(settings.raw_retention_months)
    admission = Admission(guard, Quotas(), settings.events_per_minute)
    tracking = Tracking(commits, types, admission.admit, clock, measures, retention.earliest)
    server = build(
        settings,
        _registration(reading, calendar, (tracking, merger, eraser), settings, clock),
        SERVICES,
        verifier_of(settings),
        ready=lambda: is_reachable(watching),
        registry=registry,
    )
    chores = [
        housekeeping.compaction(writing, measures),
        housekeeping.session_folding(writing),
        housekeeping.order_sets(writing, clock),
        housekeeping.partitions_ahead(partitions, clock),
        housekeeping.registered_properties(writing, calendar),
        housekeeping.stalled_copies(writing, settings.stalled_copy_seconds),
        housekeeping.raw_retention(changing, retention, clock),
        housekeeping.merges(merger, mover, writer.merges_asked),
    ]
    engines = (reading, writing, changing, watching)
    return Application(server, housekeeping.Housekeeper(chores), commits, engines)


def _registration(
    reading: "Engine",
    calendar: ReportingCalendar,
    changing: tuple[Tracking, Merger, Eraser],
    settings: "EventsSettings",
    clock: Callable[[], int],
) -> Callable[[grpc.Server], None]:
    tracking, merger, eraser = changing
    cells = CellStore(reading, calendar)
    properties = PropertyCells(reading, calendar)
    users = _users(reading, settings)
    scanner = Scanner(reading)
    columns = ColumnCache(scanner, settings.column_cache_bytes)
    events = EventCalls(
        tracking=tracking,
        engine=reading,
        cells=cells,
        grouped=GroupedCounts(reading),
        properties=properties,
        scanner=scanner,
        users=users,
        reporting_zone=settings.reporting_time_zone,
        clock=clock,
    )
    metrics = catalog(columns, reading)
    groups = [
        events,
        ConversionCalls(columns, settings.reporting_time_zone, clock),
        RetentionCalls(cells, properties, settings.reporting_time_zone, clock),
        CohortCalls(CohortStore(reading), cells, settings.reporting_time_zone, clock),
        OverviewCalls(metrics, cells, settings.reporting_time_zone, clock),
        SavedMetricCalls(reading, clock),
        LinkCalls(users, merger),
        PropertyCalls(reading, clock),
        SnapshotCalls(reading, clock),
    ]
    reader = MetricReader(metrics, cells, properties, settings.reporting_time_zone, clock)
    source = MetricSource(reader.descriptors(), reader.read)
    privacy = PrivacyServicer(messages.who, Exporter(reading, eraser.keyring, eraser.index), eraser)

    def register(server: grpc.Server) -> None:
        add_EventsServiceServicer_to_server(joined(EventsServiceServicer, groups), server)
        add_MetricSourceServiceServicer_to_server(source, server)
        add_AuditServiceServicer_to_server(AuditServicer(reading), server)
        add_PrivacyServiceServicer_to_server(privacy, server)

    return register


def _users(engine: "Engine", settings: "EventsSettings") -> UserDictionary:
    return UserDictionary(engine, *_secrets(settings), settings.cached_users)


def _eraser(engine: "Engine", settings: "EventsSettings", mover: Mover, clock: Callable[[], int]) -> Eraser:
    """Return what erases people, once it has erased again whom a restored database holds."""
    journal = None if settings.erasure_journal is None else Journal(settings.erasure_journal)
    eraser = Eraser(engine, *_secrets(settings), mover, journal, clock)
    if journal is not None:
        eraser.apply(journal.read(), SERVICE)
    return eraser


def _secrets(settings: "EventsSettings") -> tuple[Keyring, BlindIndex]:
    return (
        Keyring.parse(settings.encryption_keys.get_secret_value()),
        BlindIndex.parse(settings.blind_index_key.get_secret_value()),
    )


def _engine(
    settings: "EventsSettings", pool_size: int, opened: ExitStack, statement_seconds: float | None = None
) -> "Engine":
    engine = create_engine(
        settings.database_url,
        schema=settings.database_schema,
        pool_size=pool_size,
        application_name="brain-events",
        statement_seconds=statement_seconds,
    )
    opened.callback(engine.dispose)
    return engine
