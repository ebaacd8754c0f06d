"""A real funnels service beside a real events service, with their clocks in the test's hand."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from services.funnels import application
from services.funnels.application import Application
from services.funnels.config import FunnelsSettings
from shared.auth import Role, mint_token
from shared.clients import channel
from tests.clock import Clock
from tests.services.events.conftest import Service as EventsService
from tests.services.events.conftest import running as running_events

KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True)
class Service:
    """A running service and what calls it."""

    application: Application
    channel: grpc.Channel
    events: EventsService
    funnels: FunnelsServiceStub = field(init=False)
    audit: AuditServiceStub = field(init=False)
    metrics: MetricSourceServiceStub = field(init=False)
    privacy: PrivacyServiceStub = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "funnels", FunnelsServiceStub(self.channel))
        object.__setattr__(self, "audit", AuditServiceStub(self.channel))
        object.__setattr__(self, "metrics", MetricSourceServiceStub(self.channel))
        object.__setattr__(self, "privacy", PrivacyServiceStub(self.channel))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def running(
    database: str, events: EventsService, token_keys: tuple[bytes, bytes], directory: Path, **changes: object
) -> Iterator[Service]:
    """A replica on a migrated database; settings may be given by name."""
    (directory / "public.pem").write_bytes(token_keys[1])
    token_file = directory / "events.token"
    token_file.write_text(mint_token(token_keys[0], "funnels", [Role.ANALYST], None, 0))
    clock = changes.pop("clock", Clock())
    settings = FunnelsSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "database_url": database,
            "database_schema": "funnels",
            "token_public_key_file": directory / "public.pem",
            "encryption_keys": f"1:{KEY}",
            "blind_index_key": KEY,
            "events_address": f"127.0.0.1:{events.application.server.port}",
            "events_token_file": token_file,
            **changes,
        }
    )
    started = application.start(settings, clock)  # type: ignore[arg-type]  # a clock, or what a test gave
    token = mint_token(token_keys[0], "test", [Role.ADMIN], None, 0)
    try:
        with channel(f"127.0.0.1:{started.server.port}", token) as calls:
            yield Service(started, calls, events)
    finally:
        started.stop()


@pytest.fixture
def events(
    events_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[EventsService]:
    with running_events(events_database, clock, token_keys[0], public_key_file) as service:
        yield service


@pytest.fixture
def start_service(
    funnels_database: str,
    events: EventsService,
    clock: Clock,
    token_keys: tuple[bytes, bytes],
    tmp_path: Path,
) -> Iterator[Callable[..., Service]]:
    """Starts a replica on the test's database; settings may be given by name."""
    with ExitStack() as stack:

        def start(**changes: object) -> Service:
            replica = running(funnels_database, events, token_keys, tmp_path, clock=clock, **changes)
            return stack.enter_context(replica)

        yield start


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service()
