"""Questions are asked of a streaming standby: what it answers, and what it is never asked."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import INTERVAL_DAY, TimeRange
from brain.events.v1 import cohorts_pb2, events_pb2, identity_pb2, overview_pb2, properties_pb2
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricRequest
from brain.privacy.v1 import privacy_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

import deploy.postgres
from deploy.postgres import NOT_DURABLE, EmbeddedPostgres
from shared import migrations
from shared.calls import public_error
from shared.database import create_engine
from tests import standby
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service, running
from tests.waiting import until

SPAN = TimeRange(start_time=Timestamp(seconds=1_320_000_000), end_time=Timestamp(seconds=1_320_086_400))


@pytest.fixture(scope="module")
def primary(scratch_directory: Path) -> Iterator[EmbeddedPostgres]:
    directory = scratch_directory / "primary"
    directory.mkdir()
    server = deploy.postgres.start(directory / "a", settings={**NOT_DURABLE, "synchronous_commit": "on"})
    server.create_database("asked")
    server.create_schema("asked", "events")
    migrations.upgrade(server.url("asked", "events"), "events", "services.events")
    yield server
    server.close()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def copy(primary: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    server = standby.start(primary, primary.data_directory.with_name("b"))
    yield server
    server.close()


@pytest.fixture
def asking(
    primary: EmbeddedPostgres, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[Callable[[str], Service]]:
    """Starts a service that asks its questions of a URL."""
    with ExitStack() as stack:

        def start(url: str) -> Service:
            database = primary.url("asked", "events")
            open_to_all = {"auth": "off", "token_public_key_file": None, "read_database_url": url}
            started = stack.enter_context(
                running(database, Clock(), token_keys[0], public_key_file, **open_to_all)
            )
            address = f"127.0.0.1:{started.application.server.port}"
            # Its calls are not tried again, so that every failure is seen.
            return replace(started, channel=stack.enter_context(grpc.insecure_channel(address)))

        yield start


@pytest.fixture
def service(asking: Callable[[str], Service], copy: EmbeddedPostgres) -> Service:
    return asking(copy.url("asked", "events"))


def track(service: Service, name: str, *event_ids: str) -> None:
    """Store events called `name` of a person called `name`."""
    events = [
        events_pb2.Event(
            event_id=event_id,
            user_id=name,
            session_id="s",
            event=name,
            category="revenue",
            event_time=Timestamp(seconds=1_320_000_100),
        )
        for event_id in event_ids
    ]
    accepted = service.events.TrackEvents(events_pb2.TrackEventsRequest(events=events)).accepted
    assert accepted == len(event_ids)


def person(name: str) -> events_pb2.UserReference:
    return events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id=name)


def resolved(service: Service, name: str) -> int:
    return len(service.events.ResolveUsers(events_pb2.ResolveUsersRequest(users=[person(name)])).users)


def exported(service: Service, name: str) -> set[str]:
    replies = service.privacy.ExportUser(privacy_pb2.ExportUserRequest(user=person(name)))
    lines = [json.loads(line) for reply in replies for line in reply.json_lines]
    return {line["event_id"] for line in lines if line["table"] == "events"}


def counted(service: Service, name: str) -> int:
    request = events_pb2.CountEventsRequest(time_range=SPAN, events=[name])
    [count] = service.events.CountEvents(request).counts
    return count.events


def listed(service: Service, name: str) -> set[str]:
    found = service.events.QueryEvents(events_pb2.QueryEventsRequest(user_id=name)).events
    return {event.event_id for event in found}


def scanned(
    service: Service, name: str, known: events_pb2.ScanEventsResponse | None = None
) -> events_pb2.ScanEventsResponse | None:
    """Return the only chunk there is."""
    request = events_pb2.ScanEventsRequest(events=[name], time_range=SPAN)
    if known is not None:
        request.known_chunks.add(event=name, day=known.day, revision=known.revision)
    return next(iter(service.events.ScanEvents(request)), None)


def questions(service: Service) -> list[Callable[[], object]]:
    """Calls that ask the standby."""
    active = events_pb2.GetActiveUsersRequest(period=events_pb2.ACTIVE_PERIOD_DAY)
    query = MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=SPAN)
    overview = overview_pb2.GetOverviewRequest(time_range=SPAN)
    return [
        lambda: listed(service, "anybody"),
        lambda: scanned(service, "anything"),
        lambda: counted(service, "anything"),
        lambda: service.events.GetTopEvents(events_pb2.GetTopEventsRequest(time_range=SPAN)),
        lambda: service.events.GetActiveUsers(active),
        lambda: service.events.GetOverview(overview),
        lambda: service.metrics.ReadMetric(ReadMetricRequest(query=query)),
    ]


def others(service: Service, name: str) -> list[Callable[[], object]]:
    """Calls that change something, or must know it as it is now."""
    link = identity_pb2.LinkUserRequest(user_id=name, anonymous_id=f"cookie of {name}")
    erase = privacy_pb2.EraseUserRequest(user=person(name), mode=privacy_pb2.ERASURE_MODE_ERASE)
    register = properties_pb2.RegisterPropertyRequest(property=name)
    return [
        lambda: track(service, name, "1"),
        lambda: service.events.LinkUser(link),
        lambda: resolved(service, name),
        lambda: exported(service, name),
        lambda: service.privacy.EraseUser(erase),
        lambda: service.events.RegisterProperty(register),
        lambda: service.events.ListProperties(properties_pb2.ListPropertiesRequest()),
        lambda: service.events.ListCohorts(cohorts_pb2.ListCohortsRequest()),
        lambda: service.audit.ListAuditEntries(ListAuditEntriesRequest()),
    ]


def test_answers_are_as_old_as_the_standby_and_identities_and_exports_are_not(
    service: Service, primary: EmbeddedPostgres, copy: EmbeddedPostgres
) -> None:
    standby.pause(copy)
    track(service, "late", "1", "2")
    assert (counted(service, "late"), listed(service, "late"), scanned(service, "late")) == (0, set(), None)
    assert (resolved(service, "late"), exported(service, "late")) == (1, {"1", "2"})
    standby.catch_up(copy, primary)
    assert (counted(service, "late"), listed(service, "late")) == (2, {"1", "2"})


def test_revisions_are_those_of_the_rows_that_the_standby_has(
    service: Service, primary: EmbeddedPostgres, copy: EmbeddedPostgres
) -> None:
    track(service, "scanned", "1")
    standby.catch_up(copy, primary)
    before = scanned(service, "scanned")
    assert before is not None
    assert before.row_count == 1
    standby.pause(copy)
    track(service, "scanned", "2")
    still = scanned(service, "scanned", before)
    assert still is not None
    assert (still.revision, still.unchanged) == (before.revision, True)
    standby.catch_up(copy, primary)
    after = scanned(service, "scanned", before)
    assert after is not None
    assert (after.row_count, after.unchanged) == (2, False)
    assert after.revision != before.revision


def test_nothing_but_questions_reaches_the_standby(asking: Callable[[str], Service]) -> None:
    """Nobody listens at this address."""
    service = asking("postgresql://events@127.0.0.1:1/asked")
    for question in questions(service):
        refused = refusal(question)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    for other in others(service, "apart"):
        other()


def test_a_standby_takes_every_question(service: Service) -> None:
    """A statement that writes would be refused there."""
    for question in questions(service):
        question()


def test_a_url_of_two_servers_falls_back_to_the_primary(
    asking: Callable[[str], Service], primary: EmbeddedPostgres
) -> None:
    hosts = [primary.data_directory.with_name("nobody"), primary.data_directory]
    found = "&".join(f"host={quote(str(host))}:5432" for host in hosts)
    service = asking(f"postgresql://events@/asked?{found}&target_session_attrs=prefer-standby")
    track(service, "fallen back", "1")
    assert counted(service, "fallen back") == 1


def test_a_statement_the_standby_gives_up_may_be_asked_again(
    service: Service, primary: EmbeddedPostgres, copy: EmbeddedPostgres
) -> None:
    """Its table goes on the primary, and the standby waits for no reader (tests.standby)."""
    track(service, "given up", "1")
    standby.catch_up(copy, primary)
    engine = create_engine(copy.url("asked", "events"), schema="events", pool_size=1, application_name="slow")
    slow = text("SELECT pg_sleep(20) FROM rollup_state")

    def ask() -> Exception | None:
        try:
            with engine.begin() as connection:
                connection.execute(slow)
        except Exception as error:  # noqa: BLE001 - which it is, is the question
            return error
        return None

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        until(lambda: is_sleeping(copy))
        with primary.connect("asked") as connection:
            connection.execute("TRUNCATE events.rollup_state")
            connection.execute("INSERT INTO events.rollup_state (reporting_time_zone) VALUES ('UTC')")
        error = asked.result()
    engine.dispose()
    assert error is not None
    known = public_error(error)
    assert known is not None
    assert (known.code, known.reason) == (grpc.StatusCode.UNAVAILABLE, "STANDBY_CONFLICT")


def is_sleeping(server: EmbeddedPostgres) -> bool:
    with server.connect() as connection:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return connection.execute(asked).fetchone() == (1,)
