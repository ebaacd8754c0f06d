"""A real experiments service on a database of its own, with its clocks in the test's hand."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import sqlalchemy
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from brain.experiments.v1.statistics_pb2_grpc import StatisticsServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from services.experiments import application, catalogue
from services.experiments.application import Application
from services.experiments.config import ExperimentsSettings
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
    experiments: ExperimentsServiceStub = field(init=False)
    statistics: StatisticsServiceStub = field(init=False)
    audit: AuditServiceStub = field(init=False)
    metrics: MetricSourceServiceStub = field(init=False)
    privacy: PrivacyServiceStub = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "experiments", ExperimentsServiceStub(self.channel))
        object.__setattr__(self, "statistics", StatisticsServiceStub(self.channel))
        object.__setattr__(self, "metrics", MetricSourceServiceStub(self.channel))
        object.__setattr__(self, "audit", AuditServiceStub(self.channel))
        object.__setattr__(self, "privacy", PrivacyServiceStub(self.channel))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every call look for changes, however lately another did: what one call changes, the next sees."""
    monkeypatch.setattr(catalogue, "FRESH_SECONDS", 0.0)


@contextmanager
def running(
    database: str, clock: Clock, private_key: bytes, public_key_file: Path, **changes: object
) -> Iterator[Service]:
    """A replica on a migrated database; settings may be given by name."""
    settings = ExperimentsSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "flagd_address": "127.0.0.1:0",
            "database_url": database,
            "database_schema": "experiments",
            "token_public_key_file": public_key_file,
            "encryption_keys": f"1:{KEY}",
            "blind_index_key": KEY,
            **changes,
        }
    )
    started = application.start(settings, clock)
    token = mint_token(private_key, "test", [Role.ADMIN], None, clock.micros / 1e6)
    engine = create_engine(database, schema="experiments", pool_size=5, application_name="test")
    try:
        with channel(f"127.0.0.1:{started.server.port}", token) as calls:
            yield Service(started, calls, engine)
    finally:
        engine.dispose()
        started.stop()


@pytest.fixture
def start_service(
    experiments_database: str,
    clock: Clock,
    token_keys: tuple[bytes, bytes],
    public_key_file: Path,
    fresh: None,
) -> Iterator[Callable[..., Service]]:
    """Starts a replica on the test's database; settings may be given by name."""
    with ExitStack() as stack:

        def start(**changes: object) -> Service:
            replica = running(experiments_database, clock, token_keys[0], public_key_file, **changes)
            return stack.enter_context(replica)

        yield start


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service()
