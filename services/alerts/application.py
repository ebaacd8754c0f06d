"""The alerts service put together; the only place that knows how its parts are built."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceServicer, add_AlertsServiceServicer_to_server
from brain.audit.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from brain.privacy.v1.privacy_pb2_grpc import add_PrivacyServiceServicer_to_server
from prometheus_client import CollectorRegistry

from services.alerts.calls.alert_calls import AlertCalls
from services.alerts.calls.changing import Changes
from services.alerts.calls.history_calls import HistoryCalls
from services.alerts.calls.showing import Showing
from services.alerts.calls.silence_calls import SilenceCalls
from services.alerts.calls.trial_calls import TrialCalls
from services.alerts.channels import RecipientChecks, open_channels
from services.alerts.measures import Measures
from services.alerts.people import People, read_who
from services.alerts.pipeline import Channel, Deliverer
from services.alerts.plan import ChannelKind
from services.alerts.pruning import counting, pruning
from services.alerts.rate import Rate
from services.alerts.sources import Source, open_sources
from services.alerts.store.recipients import RecipientStore
from services.alerts.worker import Worker
from shared.audit import AuditServicer
from shared.auth import verifier_of
from shared.chores import Chore, Housekeeper
from shared.database import expose_pools, is_reachable, open_engine
from shared.privacy_servicer import PrivacyServicer, retelling
from shared.server import RunningServer, build
from shared.servicers import joined

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.alerts.config import AlertsSettings

SERVICES = (
    "brain.alerts.v1.AlertsService",
    "brain.privacy.v1.PrivacyService",
    "brain.audit.v1.AuditService",
)


@dataclass
class Application:
    """A running alerts service. It looks and tells once `work` is called."""

    server: RunningServer
    workers: Sequence[Worker]
    deliverers: Sequence[Deliverer]
    measures: Measures
    _chores: Sequence[Chore]
    _registry: CollectorRegistry
    _opened: ExitStack
    _housekeeper: Housekeeper | None = field(default=None)

    def work(self) -> None:
        """Begin to look at alerts and to tell receivers."""
        self._housekeeper = Housekeeper(self._chores, self._registry, self.server.tracer)

    def wait(self) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, then stops."""
        self.server.wait()
        self.stop()

    def stop(self) -> None:
        """Finishes what is under way, lets go of the database."""
        if self._housekeeper is not None:
            self._housekeeper.stop()
        self._opened.close()


def start(settings: "AlertsSettings", clock: Callable[[], int]) -> Application:
    """Start the service's calls; `clock` tells the time in Unix microseconds."""
    with ExitStack() as opened:  # what was opened is closed again where a later step fails
        return _open(settings, clock, opened)


def _open(settings: "AlertsSettings", clock: Callable[[], int], opened: ExitStack) -> Application:
    engine = open_engine(settings, settings.database_connections, opened, settings.statement_seconds)
    watching = open_engine(settings, 1, opened, settings.statement_seconds)
    registry = CollectorRegistry()
    measures = Measures(registry)
    recipients = RecipientStore(settings.keyring, settings.blind_index)
    sources = open_sources(settings, opened)
    channels = open_channels(settings, lambda: clock() / 1e6)
    groups = _calls(settings, clock, (engine, recipients), sources, channels)
    people = retelling(
        settings.erasure_journal, "alerts", lambda journal: People(engine, recipients, journal, clock)
    )
    server = build(
        settings,
        lambda server: _register(server, groups, people, engine),
        SERVICES,
        verifier_of(settings),
        ready=lambda: is_reachable(watching),
        registry=registry,
    )
    opened.callback(server.stop)
    threads = len(sources) + 3 + len(ChannelKind) * settings.deliverers
    background = open_engine(settings, threads, opened, settings.statement_seconds)
    expose_pools(registry, {"calls": engine, "background": background})
    workers = _workers(settings, clock, background, sources, measures)
    deliverers = _deliverers(settings, clock, (background, recipients), channels, measures)
    chores = [
        *(worker.chore() for worker in workers),
        *(each.chore(number) for each in deliverers for number in range(settings.deliverers)),
        pruning(background, clock, settings.history_days),
        counting(background, clock, measures),
    ]
    return Application(server, workers, deliverers, measures, chores, registry, opened.pop_all())


def _calls(
    settings: "AlertsSettings",
    clock: Callable[[], int],
    kept: "tuple[Engine, RecipientStore]",
    sources: Mapping[str, Source],
    channels: Mapping[ChannelKind, Channel],
) -> Sequence[object]:
    engine, recipients = kept
    zone = settings.reporting_time_zone
    checks = RecipientChecks(list(channels), settings.networks, str(settings.slack_base_url))
    changes = Changes(recipients, zone, clock)
    return (
        AlertCalls(engine, sources, checks, changes, Showing(recipients, zone, clock), clock),
        SilenceCalls(engine, clock),
        HistoryCalls(engine, recipients),
        TrialCalls(engine, sources, channels, recipients, zone, clock),
    )


def _workers(
    settings: "AlertsSettings",
    clock: Callable[[], int],
    engine: "Engine",
    sources: Mapping[str, Source],
    measures: Measures,
) -> list[Worker]:
    zone, known = settings.reporting_time_zone, list(sources)
    return [Worker(engine, source, known, clock, zone, measures) for source in (*sources.values(), None)]


def _deliverers(
    settings: "AlertsSettings",
    clock: Callable[[], int],
    kept: "tuple[Engine, RecipientStore]",
    channels: Mapping[ChannelKind, Channel],
    measures: Measures,
) -> list[Deliverer]:
    engine, recipients = kept
    return [
        Deliverer(
            engine,
            kind,
            channels.get(kind),
            recipients,
            Rate(getattr(settings, f"{kind.name.lower()}_per_minute")),
            clock,
            measures,
            settings.give_up_hours,
        )
        for kind in ChannelKind
    ]


def _register(server: grpc.Server, groups: Sequence[object], people: People, engine: "Engine") -> None:
    add_AlertsServiceServicer_to_server(joined(AlertsServiceServicer, groups), server)
    add_PrivacyServiceServicer_to_server(PrivacyServicer(read_who, people, people), server)
    add_AuditServiceServicer_to_server(AuditServicer(engine), server)
