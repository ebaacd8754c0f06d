"""A dashboard over a small made history, whose every number can be counted by hand."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.postgres import EmbeddedPostgres
from shared.auth import Role, mint_token
from tests import databases
from tests.clock import Clock
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service, running

# A Friday; the last day of the history is not over.
NOW = datetime(2011, 11, 11, 8, 26, 40, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://evil.example","click")'


def event(name: str, day: int, number: int, **fields: object) -> pb.Event:
    """The number-th event of a day so many days before NOW's."""
    moment = NOW.replace(hour=6, minute=0, second=0) - timedelta(days=day) + timedelta(seconds=number)
    stamp = Timestamp()
    stamp.FromDatetime(moment.replace(tzinfo=None))
    identity = f"{name}-{day}-{number}"[:60]
    return pb.Event(event=name, event_time=stamp, event_id=identity, session_id="s", **fields)  # type: ignore[arg-type]


def history() -> list[pb.Event]:
    """Seventy days: ten visitors a day, but thirty yesterday; a purchase of 5 a day by the first visitor."""
    made = []
    for day in range(70):
        visitors = 30 if day == 1 else 10
        made += [event("visited", day, number, user_id=f"user-{number}") for number in range(visitors)]
        made.append(event("bought", day, 100, user_id="user-0", category="revenue", value=5.0))
    made.append(event(SCRIPT, 0, 200, user_id=SCRIPT, page=SCRIPT, properties_json=f'{{"plan":"{SCRIPT}"}}'))
    made.append(event(FORMULA, 0, 201, user_id=FORMULA, page="@SUM(1)", referrer="-1+1"))
    return made


def minted(private_key: bytes, role: Role = Role.ADMIN, lifetime_seconds: int | None = None) -> str:
    return mint_token(private_key, role.name.lower(), [role], lifetime_seconds, NOW.timestamp())


@pytest.fixture(scope="session")
def dashboard_key_file(token_keys: tuple[bytes, bytes], scratch_directory: Path) -> Path:
    path = scratch_directory / "dashboard.pem"
    path.write_bytes(token_keys[1])
    return path


@pytest.fixture(scope="session")
def events_service(
    postgres: EmbeddedPostgres,
    events_template: str,
    token_keys: tuple[bytes, bytes],
    dashboard_key_file: Path,
) -> Iterator[Service]:
    with databases.clone(postgres, events_template) as name:
        url = postgres.url(name, "events")
        with running(url, Clock(), token_keys[0], dashboard_key_file) as service:
            reply = service.events.TrackEvents(pb.TrackEventsRequest(events=history()))
            assert not reply.rejections
            yield service


@pytest.fixture(scope="session")
def site(
    events_service: Service, dashboard_key_file: Path, token_keys: tuple[bytes, bytes]
) -> Iterator[Site]:
    port = events_service.application.server.port
    with gateway(port, dashboard_key_file, NOW.timestamp, currency="GBP") as origin:
        yield Site(origin, minted(token_keys[0]))


@pytest.fixture
def visitor(site: Site) -> Iterator[httpx.Client]:
    """Somebody signed in as an administrator."""
    with site.signed_in() as client:
        yield client


@pytest.fixture
def stranger(site: Site) -> Iterator[httpx.Client]:
    """Somebody not signed in."""
    with site.browser() as client:
        yield client


@pytest.fixture
def token_for(token_keys: tuple[bytes, bytes]) -> Callable[..., str]:
    """(role, lifetime in seconds) -> a token."""
    return lambda role, lifetime_seconds=None: minted(token_keys[0], role, lifetime_seconds)
