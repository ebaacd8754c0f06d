"""Row 6: the answer is lost after the work is done; what is sent again is stored once, and said so."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic

import pytest
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from shared import clients
from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.ledger import Ledger, Outcome
from tests.faults.load import Load
from tests.faults.made_events import new_ids
from tests.faults.proxy import Fault, Proxy
from tests.faults.servers import Server

pytestmark = pytest.mark.faults

SECONDS = 30.0
CLIENTS = 8
BATCH = 10
RATIO = 0.2


@pytest.fixture
def proxies(database: Database, start: Callable[..., Server]) -> Iterator[list[Proxy]]:
    """One before the events server for each client, so that a cut is of one call alone."""
    server = start("events", database.url("events"))
    with ExitStack() as stack:
        yield [stack.enter_context(Proxy(server.address, seed=number)) for number in range(CLIENTS)]


def test_what_is_sent_again_is_stored_once(
    proxies: list[Proxy],
    ledger: Ledger,
    lasting: Callable[[float], float],
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    load = Load(ledger, lambda client: clients.channel(proxies[client].address, None))
    end = monotonic() + lasting(SECONDS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        told_wrongly = [
            wrong for wrongs in pool.map(lambda proxy: _send(load, proxy, end), proxies) for wrong in wrongs
        ]
    verdict = judge()
    cut = sum(proxy.replies_cut for proxy in proxies)
    tell(replies_cut=cut, **load.tally.figures(), duplicates=verdict.duplicates)
    assert not verdict.problems
    assert not load.tally.failed_calls
    assert told_wrongly == []
    assert cut > load.tally.calls * RATIO / 2
    assert verdict.stored == verdict.sent == verdict.accepted + verdict.duplicates


def _send(load: Load, proxy: Proxy, end: float) -> list[str]:
    """Send until then; say of which calls the answer counts duplicates that are none, or none that are."""
    proxy.fault = Fault(cut_reply_ratio=RATIO)
    wrong = []
    with clients.channel(proxy.address, None) as channel:
        stub = EventsServiceStub(channel)
        while monotonic() < end:
            before = proxy.replies_cut
            answer = load.send(stub, new_ids(BATCH))
            expected = BATCH if proxy.replies_cut > before else 0
            if answer.outcome is Outcome.OK and answer.duplicates != expected:
                wrong.append(f"{answer.duplicates} duplicates, not {expected}")
    return wrong
