"""Row 7: two seconds of latency and 32 kB/s between the events service and its database."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

import grpc
import pytest
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from shared.timestamps import from_micros
from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Manner
from tests.faults.made_events import SPAN_MICROS, START_MICROS
from tests.faults.proxy import HEALTHY, Fault, Proxy
from tests.faults.servers import SERVING, Server
from tests.refusals import attempt

pytestmark = pytest.mark.faults

SECONDS = 30.0
DEADLINE_SECONDS = 5.0
OVER_SECONDS = 1.0
SLOW = Fault(latency_seconds=1.0, bytes_per_second=32_000)  # there and back: 2 s
ALLOWED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
QUEUE_EVENTS = 5_000
GROWTH_BYTES = 64 * 2**20


@pytest.fixture
def network(database: Database, tmp_path: Path) -> Iterator[Proxy]:
    listen = f"unix:{tmp_path / '.s.PGSQL.5432'}"
    with Proxy(database.socket_address, listen=listen) as proxy:
        yield proxy


@pytest.fixture
def server(database: Database, network: Proxy, tmp_path: Path, start: Callable[..., Server]) -> Server:
    """A replica behind that network."""
    return start("events", database.url_through("events", tmp_path), QUEUE_EVENTS=str(QUEUE_EVENTS))


def test_deadlines_are_kept_and_nothing_piles_up(
    network: Proxy,
    server: Server,
    ledger: Ledger,
    lasting: Callable[[float], float],
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    manner = Manner(batch=100, retry_seconds=0, call_seconds=DEADLINE_SECONDS)
    with Load(ledger, lambda _client: server.plain_channel(), manner) as load:
        assert load.gets_through(5_000, 20)
        memory = resident_bytes(server.pid)
        network.fault = SLOW
        end = monotonic() + lasting(SECONDS)
        reads, queued, grown = [], 0, 0
        while monotonic() < end:
            reads.append(read(server))
            queued = max(queued, queued_events(server))
            grown = max(grown, resident_bytes(server.pid) - memory)
        network.fault = HEALTHY
        server.wait_until(SERVING, 20)
        assert load.gets_through(1_000, 20)
    verdict = judge()
    over = max(float(str(call["duration_ms"])) for call in server.logged_calls()) / 1_000 - DEADLINE_SECONDS
    figures = load.tally.figures() | {"reads": dict(Counter(code.name if code else "OK" for code in reads))}
    tell(over=f"{over:.1f} s", queued=queued, grown=f"{grown / 2**20:.0f} MiB", **figures)
    assert not verdict.problems
    assert set(load.tally.failed_calls) <= ALLOWED
    assert load.tally.longest_seconds < DEADLINE_SECONDS + OVER_SECONDS
    assert over < OVER_SECONDS
    assert queued <= QUEUE_EVENTS
    assert grown < GROWTH_BYTES


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds (proc(5): VmRSS in kB)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith("VmRSS"))


def queued_events(server: Server) -> int:
    """Return how many events wait for a writer, as the server says."""
    with urlopen(f"http://{server.metrics_address}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("events_queued "))


def read(server: Server) -> grpc.StatusCode | None:
    """Ask for raw events of the whole time; return how that ended."""
    span = TimeRange(start_time=from_micros(START_MICROS), end_time=from_micros(START_MICROS + SPAN_MICROS))
    request = pb.CountEventsRequest(time_range=span, group_by=pb.COUNT_GROUP_USER)
    with server.plain_channel() as channel:
        stub = EventsServiceStub(channel)
        refused = attempt(partial(stub.CountEvents, request, timeout=DEADLINE_SECONDS))
    return refused.code if refused else None
