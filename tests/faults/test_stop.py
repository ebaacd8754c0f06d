"""Told to stop while the database is away and callers wait: a service ends within a time that is known."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, current_thread
from time import monotonic, sleep

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from brain.events.v1.events_pb2 import TrackEventsRequest
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from shared.server import ENDING_SECONDS
from tests.faults.conftest import SERVICES, Database
from tests.faults.every_service import start_all
from tests.faults.made_events import events, new_ids
from tests.faults.proxy import Fault, Proxy
from tests.faults.servers import START_SECONDS, Server, within

pytestmark = pytest.mark.faults

DRAIN_SECONDS = 2
STOP_SECONDS = 60
STUCK_SECONDS = 2  # by then every thread of a service waits for the database
LATE_SECONDS = 3  # beside everything else that runs
PAUSE_SECONDS = 0.05
CALLERS = 24  # more than a service has threads


@pytest.fixture
def network(every_database: Database, tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(every_database.socket_address, listen=f"unix:{tmp_path / '.s.PGSQL.5432'}") as proxy:
        yield proxy


@dataclass(frozen=True)
class Behind(Database):
    """A database that is reached through a proxy in `directory`."""

    directory: Path

    def url(self, service: str) -> str:
        """Return where a service finds its tables."""
        return self.url_through(service, self.directory)


@contextmanager
def load(server: Server) -> Iterator[Counter[str]]:
    """Callers who wait without end; yields what counts their calls."""
    stopping, calls = Event(), Counter[str]()

    def call() -> None:
        with server.plain_channel() as channel:
            while not stopping.is_set():
                with suppress(grpc.RpcError):
                    AuditServiceStub(channel).ListAuditEntries(ListAuditEntriesRequest())
                if server.name == "events":
                    with suppress(grpc.RpcError):
                        EventsServiceStub(channel).TrackEvents(TrackEventsRequest(events=events(new_ids(10))))
                calls[current_thread().name] += 1
                stopping.wait(PAUSE_SECONDS)

    threads = [Thread(target=call, name=f"load-{server.name}-{number}") for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stopping.set()
        server.kill()  # or its callers would wait with it
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("how", ["refuses", "swallows"])
def test_every_service_ends_in_time_without_its_database(
    every_database: Database,
    network: Proxy,
    tmp_path: Path,
    start: Callable[..., Server],
    tell: Callable[..., None],
    how: str,
) -> None:
    behind = Behind(every_database.postgres, tmp_path)
    servers = start_all(behind, start, DRAIN_SECONDS=str(DRAIN_SECONDS))
    with ExitStack() as loaded:
        calls = [loaded.enter_context(load(server)) for server in servers]
        assert within(START_SECONDS, lambda: all(each.total() > 2 * CALLERS for each in calls))
        if how == "refuses":
            every_database.postgres.stop_immediately()
        else:
            network.fault = Fault(is_black_hole=True)
        sleep(STUCK_SECONDS)
        took = ends(servers)
    tell(**{name: f"{seconds:.1f} s" for name, seconds in took.items()})
    assert took.keys() == set(SERVICES)
    assert max(took.values()) <= DRAIN_SECONDS + ENDING_SECONDS + LATE_SECONDS


def ends(servers: Sequence[Server]) -> dict[str, float]:
    """Tell all to stop; return after how many seconds each had ended, of those that did."""
    began, took = monotonic(), dict[str, float]()
    for server in servers:
        os.kill(server.pid, signal.SIGTERM)

    def all_ended() -> bool:
        for server in servers:
            if not server.is_running():
                took.setdefault(server.name, monotonic() - began)
        return len(took) == len(servers)

    within(STOP_SECONDS, all_ended)
    return took
