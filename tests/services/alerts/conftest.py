"""A real alerts service on a database of its own, beside a real events service; clocks in the test's hand."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import sqlalchemy
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from brain.events.v1 import events_pb2
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from services.alerts import application
from services.alerts.application import Application
from services.alerts.condition import NoticeKind
from services.alerts.config import AlertsSettings
from services.alerts.notice import Notice
from shared.auth import Role, mint_token
from shared.clients import channel
from shared.database import create_engine
from shared.timestamps import from_micros
from tests.clock import Clock
from tests.services.alerts.receivers import Receiver, http_receiver
from tests.services.alerts.scripted_source import Script, scripted_source
from tests.services.events.conftest import Service as EventsService
from tests.services.events.conftest import running as running_events

KEY = base64.b64encode(bytes(range(32))).decode()
SECOND = 1_000_000
HOUR = 3600 * SECOND
# 2011-11-11 08:00 UTC, a Friday.
START = 1_320_998_400 * SECOND


@dataclass(frozen=True)
class Service:
    """A running replica, what calls it, and a way into its database."""

    application: Application
    channel: grpc.Channel
    engine: sqlalchemy.Engine
    alerts: AlertsServiceStub = field(init=False)
    audit: AuditServiceStub = field(init=False)
    privacy: PrivacyServiceStub = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alerts", AlertsServiceStub(self.channel))
        object.__setattr__(self, "audit", AuditServiceStub(self.channel))
        object.__setattr__(self, "privacy", PrivacyServiceStub(self.channel))

    def look(self) -> int:
        """Look at everything that is due; return at how many alerts."""
        return sum(worker.step() for worker in self.application.workers)

    def tell(self) -> int:
        """Attempt every delivery that is due; return how many attempts there were."""
        attempts = 0
        for deliverer in self.application.deliverers:
            while made := deliverer.step():
                attempts += made
        return attempts


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def analyst_file(token_keys: tuple[bytes, bytes], tmp_path: Path) -> Path:
    path = tmp_path / "alerts.token"
    path.write_text(mint_token(token_keys[0], "alerts", [Role.ANALYST], None, 0))
    return path


@pytest.fixture
def events(
    events_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[EventsService]:
    with running_events(events_database, clock, token_keys[0], public_key_file) as service:
        yield service


@pytest.fixture
def script(clock: Clock) -> Iterator[Script]:
    with scripted_source(clock, KEY) as started:
        yield started


@pytest.fixture
def metric_sources(script: Script) -> dict[str, str]:
    """What a replica reads; tests that want real events say so."""
    return {"events": script.address}


@contextmanager
def running(
    database: str, clock: Clock, private_key: bytes, public_key_file: Path, **changes: object
) -> Iterator[Service]:
    """A replica on a migrated database that looks and tells when asked to; settings may be given by name."""
    settings = AlertsSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "database_url": database,
            "database_schema": "alerts",
            "token_public_key_file": public_key_file,
            "encryption_keys": f"1:{KEY}",
            "blind_index_key": KEY,
            "allowed_networks": "127.0.0.0/8",
            **changes,
        }
    )
    started = application.start(settings, clock)
    token = mint_token(private_key, "test", [Role.ADMIN], None, 0)
    engine = create_engine(database, schema="alerts", pool_size=5, application_name="test")
    try:
        with channel(f"127.0.0.1:{started.server.port}", token) as calls:
            yield Service(started, calls, engine)
    finally:
        engine.dispose()
        started.stop()


@pytest.fixture
def start_service(
    alerts_database: str,
    clock: Clock,
    token_keys: tuple[bytes, bytes],
    public_key_file: Path,
    metric_sources: dict[str, str],
    analyst_file: Path,
) -> Iterator[Callable[..., Service]]:
    """Starts a replica on the test's database; settings may be given by name."""
    defaults = {"metric_sources": metric_sources, "sources_token_file": analyst_file}
    with ExitStack() as stack:

        def start(**changes: object) -> Service:
            replica = running(alerts_database, clock, token_keys[0], public_key_file, **defaults | changes)
            return stack.enter_context(replica)

        yield start


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service()


@pytest.fixture
def notice() -> Notice:
    return Notice(
        kind=NoticeKind.FIRE,
        alert_id="errors",
        name="Errors",
        episode=1,
        sequence=1,
        source="events",
        metric="event_count",
        metric_labels={},
        labels={},
        rule="above 2",
        threshold=2.0,
        time_zone="UTC",
        interval_seconds=3600,
        message="",
        decided=0,
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as started:
        yield started


@pytest.fixture
def track(events: EventsService) -> Callable[..., None]:
    """(name, Unix microseconds, how many, value of each): tracks events of one person."""

    def send(name: str, micros: int, count: int = 1, value: float | None = None) -> None:
        made = [
            events_pb2.Event(
                event_id=f"{name}-{micros}-{number}",
                user_id="ann",
                session_id="s",
                event=name,
                category="revenue" if value is not None else "",
                event_time=from_micros(micros + number),
                value=value,
            )
            for number in range(count)
        ]
        reply = events.events.TrackEvents(events_pb2.TrackEventsRequest(events=made))
        assert not reply.rejections

    return send
