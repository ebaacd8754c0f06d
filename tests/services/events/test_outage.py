"""The database goes away under load and comes back: nothing acknowledged is lost, nothing is restarted."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2 import ListMetricsRequest, MetricQuery, ReadMetricRequest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

import deploy.postgres
from deploy.postgres import EmbeddedPostgres
from services.events.application import SERVICES
from shared import migrations
from tests.clock import Clock
from tests.refusals import attempt, refusal
from tests.services.events.conftest import Service, running
from tests.services.events.log_records.exporting import DAY, NANOS, Exporting
from tests.services.events.test_measures import scrape

WRITERS = 3
SPAN = TimeRange(start_time=Timestamp(seconds=1_320_000_000), end_time=Timestamp(seconds=1_320_086_400))
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def server(scratch_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server that keeps what it committed, to be stopped in every way."""
    directory = scratch_directory / "outage"
    directory.mkdir()
    server = deploy.postgres.start(directory / "postgres", settings={"shared_buffers": "64MB"})
    server.create_database("outage")
    server.create_schema("outage", "events")
    migrations.upgrade(server.url("outage", "events"), "events", "services.events")
    yield server
    server.close()
    shutil.rmtree(directory)


@pytest.fixture
def service(
    server: EmbeddedPostgres, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[Service]:
    url = server.url("outage", "events")
    with running(
        url, Clock(), token_keys[0], public_key_file, token_public_key_file=None, auth="off"
    ) as service:
        yield service


@dataclass
class Client:
    """Calls without retries of its own, so that every failure is seen."""

    service: Service
    stack: ExitStack = field(default_factory=ExitStack)
    events: EventsServiceStub = field(init=False)
    health: Any = field(init=False)

    def __post_init__(self) -> None:
        address = f"127.0.0.1:{self.service.application.server.port}"
        plain = self.stack.enter_context(grpc.insecure_channel(address))
        self.events = EventsServiceStub(plain)
        self.health = health_pb2_grpc.HealthStub(plain)

    def is_serving(self) -> bool:
        return self._statuses() == {health_pb2.HealthCheckResponse.SERVING}

    def is_not_serving(self) -> bool:
        return self._statuses() == {health_pb2.HealthCheckResponse.NOT_SERVING}

    def _statuses(self) -> set[int]:
        names = ["", *SERVICES]
        return {self.health.Check(health_pb2.HealthCheckRequest(service=name)).status for name in names}


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    client = Client(service)
    with client.stack:
        yield client


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait for a condition; tell whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def event(name: str) -> pb.Event:
    return pb.Event(
        event_id=name,
        user_id=f"user {name}",
        session_id="s",
        event="kept",
        event_time=Timestamp(seconds=1_320_000_000),
    )


@dataclass
class Load:
    """Writers that go on whatever happens, and what they were told."""

    client: Client
    label: str
    stopping: Event = field(default_factory=Event)
    acknowledged: set[str] = field(default_factory=set)
    refused: set[grpc.StatusCode] = field(default_factory=set)

    def write(self, writer: int) -> None:
        number = 0
        while not self.stopping.is_set():
            names = [f"{self.label} {writer} {number} {part}" for part in range(5)]
            request = pb.TrackEventsRequest(events=map(event, names))
            refused = attempt(partial(self.client.events.TrackEvents, request, timeout=20))
            if refused is None:
                self.acknowledged.update(names)
                number += 1
            else:
                self.refused.add(refused.code)
                self.stopping.wait(0.02)


def stored(client: Client) -> set[str]:
    found: set[str] = set()
    request = pb.QueryEventsRequest(events=["kept"], page_size=1_000)
    while True:
        answer = client.events.QueryEvents(request)
        found |= {each.event_id for each in answer.events}
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


@pytest.mark.parametrize("how", ["stop", "stop immediately", "kill"])
def test_an_outage_under_load_loses_nothing_that_was_acknowledged(
    how: str, client: Client, server: EmbeddedPostgres
) -> None:
    assert within(5, client.is_serving)
    load = Load(client, how)
    with ThreadPoolExecutor(WRITERS) as pool:
        jobs = [pool.submit(load.write, writer) for writer in range(WRITERS)]
        try:
            assert within(10, lambda: len(load.acknowledged) > 100)
            end(server, how)
            assert within(5, client.is_not_serving)
            assert within(5, lambda: bool(load.refused))
            before = len(load.acknowledged)
            server.start()
            assert within(10, lambda: client.is_serving() and len(load.acknowledged) > before + 100)
        finally:
            load.stopping.set()
        for job in jobs:
            job.result()
    assert load.refused == {UNAVAILABLE}
    assert load.acknowledged <= stored(client)


def end(server: EmbeddedPostgres, how: str) -> None:
    if how == "stop":
        server.stop()
    elif how == "stop immediately":
        server.stop_immediately()
    else:
        os.kill(server.pid, signal.SIGKILL)
        assert within(5, lambda: not server.is_running())


def test_every_call_is_unavailable_while_the_database_is_away(
    client: Client, service: Service, server: EmbeddedPostgres
) -> None:
    stop_time = time.monotonic()
    server.stop_immediately()
    batch = pb.TrackEventStreamRequest(events=[event("away")])
    person = pb.UserReference(kind=pb.USER_KIND_USER, id="nobody yet")
    calls: list[Callable[[], object]] = [
        lambda: client.events.TrackEvent(pb.TrackEventRequest(event=event("away"))),
        lambda: client.events.TrackEvents(pb.TrackEventsRequest(events=[event("away")])),
        lambda: list(client.events.TrackEventStream(iter([batch]), timeout=20)),
        lambda: client.events.QueryEvents(pb.QueryEventsRequest()),
        lambda: list(client.events.ScanEvents(pb.ScanEventsRequest(events=["kept"], time_range=SPAN))),
        lambda: client.events.CountEvents(pb.CountEventsRequest(time_range=SPAN)),
        lambda: client.events.GetTopEvents(pb.GetTopEventsRequest(time_range=SPAN)),
        lambda: client.events.GetActiveUsers(pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_DAY)),
        lambda: client.events.ResolveUsers(pb.ResolveUsersRequest(users=[person])),
    ]
    for call in calls:
        refused = refusal(call)
        assert (refused.code, refused.reason) == (UNAVAILABLE, "DATABASE_UNAVAILABLE")
    assert time.monotonic() - stop_time < 20, "each answers at once, not after a time-out"
    # What needs no database goes on.
    assert service.metrics.ListMetrics(ListMetricsRequest()).metrics
    server.start()
    assert within(10, client.is_serving)
    assert "away" not in stored(client)
    query = MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=SPAN)
    assert service.metrics.ReadMetric(ReadMetricRequest(query=query)).series.points


def test_what_opentelemetry_exports_meanwhile_arrives_once(
    client: Client, service: Service, server: EmbeddedPostgres
) -> None:
    server.stop_immediately()
    assert within(5, client.is_not_serving)
    exporting = Exporting(service.application.server.port, None)
    with exporting.logger() as logger:
        for number in range(100):
            person = {"user.id": f"user-{number}"}
            logger.emit(timestamp=NANOS + number, event_name="exported", attributes=person)
        assert within(10, lambda: refused_exports(service) > 0)
        server.start()
        assert within(10, client.is_serving)
    [count] = client.events.CountEvents(pb.CountEventsRequest(events=["exported"], time_range=DAY)).counts
    assert (count.events, count.users) == (100, 100)


def refused_exports(service: Service) -> float:
    words = ("grpc_server_handled_total", '"Export"', '"Unavailable"')
    return sum(value for name, value in scrape(service).items() if all(word in name for word in words))


def test_bad_requests_are_told_while_the_database_is_away(client: Client, server: EmbeddedPostgres) -> None:
    server.stop_immediately()
    refused = refusal(lambda: client.events.CountEvents(pb.CountEventsRequest()))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    refused = refusal(lambda: client.events.TrackEvent(pb.TrackEventRequest(event=pb.Event())))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    server.start()
    assert within(10, client.is_serving)
