"""A real events service on a database of its own, with its clock in the test's hand."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import sqlalchemy
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from services.events import application, housekeeping
from services.events.application import Application
from services.events.config import EventsSettings
from services.events.identity.merging import Merger
from shared.auth import Role, mint_token
from shared.clients import channel
from shared.database import create_engine
from tests.clock import Clock

KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True)
class Service:
    """A running service, what calls it, and a way into its database."""

    application: Application
    channel: grpc.Channel
    engine: sqlalchemy.Engine
    events: EventsServiceStub = field(init=False)
    metrics: MetricSourceServiceStub = field(init=False)
    audit: AuditServiceStub = field(init=False)
    privacy: PrivacyServiceStub = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", EventsServiceStub(self.channel))
        object.__setattr__(self, "metrics", MetricSourceServiceStub(self.channel))
        object.__setattr__(self, "audit", AuditServiceStub(self.channel))
        object.__setattr__(self, "privacy", PrivacyServiceStub(self.channel))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def running(
    database: str, clock: Clock, private_key: bytes, public_key_file: Path, **changes: object
) -> Iterator[Service]:
    """A replica on a migrated database; settings may be given by name."""
    settings = EventsSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "database_url": database,
            "database_schema": "events",
            "token_public_key_file": public_key_file,
            "encryption_keys": f"1:{KEY}",
            "blind_index_key": KEY,
            **changes,
        }
    )
    started = application.start(settings, clock)
    token = mint_token(private_key, "test", [Role.ADMIN], None, clock.micros / 1e6)
    engine = create_engine(database, schema="events", pool_size=5, application_name="test")
    try:
        with channel(f"127.0.0.1:{started.server.port}", token) as calls:
            yield Service(started, calls, engine)
    finally:
        engine.dispose()
        started.stop()


@pytest.fixture
def start_service(
    events_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[Callable[..., Service]]:
    """Starts a replica on the test's database; settings may be given by name."""
    with ExitStack() as stack:

        def start(**changes: object) -> Service:
            replica = running(events_database, clock, token_keys[0], public_key_file, **changes)
            return stack.enter_context(replica)

        yield start


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps deltas where they are, and the lock of folding free, until the test folds."""
    for folding in ("compact", "fold_values", "fold", "sweep"):
        monkeypatch.setattr(housekeeping, folding, lambda _engine: 0)
    monkeypatch.setattr(housekeeping, "refresh", lambda _engine, _hour: 0)
    monkeypatch.setattr(housekeeping, "forget_values", lambda _engine, since: since)


@pytest.fixture
def unmerged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves people apart whose ids came together: nothing moves in the background."""
    monkeypatch.setattr(Merger, "settle", lambda _merger: 0)


@pytest.fixture
def by_hand(still: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is folded, filled or swept until the test does it."""
    monkeypatch.setattr(housekeeping, "fill_one", lambda _engine, _calendar: False)


@pytest.fixture
def engine(events_database: str) -> Iterator[sqlalchemy.Engine]:
    """Connections to a migrated database that no service uses."""
    engine = create_engine(events_database, schema="events", pool_size=10, application_name="test")
    yield engine
    engine.dispose()
