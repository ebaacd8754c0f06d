"""A real forecasting service beside a real events service, with their clock in the test's hand."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import sqlalchemy
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from services.forecasting import application
from services.forecasting.application import Application
from services.forecasting.config import ForecastingSettings
from shared.auth import Role, mint_token
from shared.clients import channel
from shared.database import create_engine
from tests.clock import Clock
from tests.services.events.conftest import Service as EventsService
from tests.services.events.conftest import running as running_events

KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True)
class Service:
    """A running service, what calls it, and a way into its database."""

    application: Application
    channel: grpc.Channel
    engine: sqlalchemy.Engine
    forecasting: ForecastingServiceStub = field(init=False)
    metrics: MetricSourceServiceStub = field(init=False)
    audit: AuditServiceStub = field(init=False)
    privacy: PrivacyServiceStub = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "forecasting", ForecastingServiceStub(self.channel))
        object.__setattr__(self, "metrics", MetricSourceServiceStub(self.channel))
        object.__setattr__(self, "audit", AuditServiceStub(self.channel))
        object.__setattr__(self, "privacy", PrivacyServiceStub(self.channel))


@pytest.fixture
def clock() -> Clock:
    return Clock(1_321_056_000_000_000)  # 2011-11-12


@pytest.fixture
def events(
    events_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[EventsService]:
    with running_events(events_database, clock, token_keys[0], public_key_file) as service:
        yield service


@contextmanager
def running(
    database: str, clock: Clock, private_key: bytes, public_key_file: Path, **changes: object
) -> Iterator[Service]:
    """A replica on a migrated database; settings may be given by name."""
    chosen = ForecastingSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "database_url": database,
            "database_schema": "forecasting",
            "token_public_key_file": public_key_file,
            "encryption_keys": f"1:{KEY}",
            "blind_index_key": KEY,
            **changes,
        }
    )
    started = application.start(chosen, clock)
    token = mint_token(private_key, "test", [Role.ADMIN], None, clock.micros / 1e6)
    engine = create_engine(database, schema="forecasting", pool_size=5, application_name="test")
    try:
        with channel(f"127.0.0.1:{started.server.port}", token) as calls:
            yield Service(started, calls, engine)
    finally:
        engine.dispose()
        started.stop()


@pytest.fixture
def start_service(
    forecasting_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[Callable[..., Service]]:
    """Starts a replica on the test's database; settings may be given by name."""
    with ExitStack() as stack:

        def start(**changes: object) -> Service:
            replica = running(forecasting_database, clock, token_keys[0], public_key_file, **changes)
            return stack.enter_context(replica)

        yield start


@pytest.fixture
def alone(start_service: Callable[..., Service]) -> Service:
    """A service without sources."""
    return start_service()


@pytest.fixture
def sources(events: EventsService, token_keys: tuple[bytes, bytes], tmp_path: Path) -> dict[str, object]:
    """The settings of a service that reads from the events service."""
    token = tmp_path / "sources.token"
    token.write_text(mint_token(token_keys[0], "forecasting", [Role.ANALYST], None, 0))
    addresses = {"events": f"127.0.0.1:{events.application.server.port}"}
    return {"metric_sources": addresses, "sources_token_file": token}


@pytest.fixture
def service(start_service: Callable[..., Service], sources: dict[str, object]) -> Service:
    """A service that reads from the events service."""
    return start_service(**sources)
