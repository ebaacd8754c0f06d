"""Row 4: somebody ends every session of the database twice a second."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, sleep

import grpc
import pytest

from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.every_service import ask, start_all
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Manner
from tests.faults.servers import SERVING, Server, within
from tests.refusals import attempt

pytestmark = pytest.mark.faults

SECONDS = 30.0
PERIOD_SECONDS = 0.5
CALM_SECONDS = 5.0
WRITERS = 2
# Of an events server, as docs/settings.md says: readers, one for each writer, and fourteen others.
READERS = 1
BASE_LINE = READERS + WRITERS + 14
ASKERS = 4

_END_ALL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_AT_WORK = """
SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'brain-%' AND state <> 'idle'
"""


def end_sessions(database: Database, seconds: float) -> int:
    """End every session again and again; return how many were ended."""
    ended = 0
    until = monotonic() + seconds
    while monotonic() < until:
        ended += count(database, _END_ALL)
        sleep(PERIOD_SECONDS)
    return ended


def count(database: Database, query: str) -> int:
    with database.connect() as connection:
        [found] = connection.execute(query.encode()).fetchone() or (0,)
    return int(found)


def test_connections_are_made_again_and_no_more_than_before(
    database: Database,
    start: Callable[..., Server],
    ledger: Ledger,
    lasting: Callable[[float], float],
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    # With one connection to read, a single one that is not given back is noticed at once.
    server = start("events", database.url("events"), DATABASE_CONNECTIONS=str(READERS), WRITERS=str(WRITERS))
    with Load(ledger, lambda _client: server.plain_channel(), Manner(retry_seconds=0)) as load:
        sleep(CALM_SECONDS)
        before = database.connections("events")
        ended = end_sessions(database, lasting(SECONDS))
        server.wait_until(SERVING, 5)
        failed = load.tally.failed_calls.total()
        ask(server)
        assert load.gets_through(500, 10)
        assert load.tally.failed_calls.total() - failed <= Manner.clients, "those under way at the last blow"
    after = database.connections("events")
    assert within(5, lambda: not count(database, _AT_WORK)), "none is held"
    verdict = judge()
    tell(ended=ended, before=before, after=after, **load.tally.figures())
    assert not verdict.problems
    assert set(load.tally.failed_calls) <= {grpc.StatusCode.UNAVAILABLE}
    assert 0 < after <= BASE_LINE


def test_every_service_makes_its_connections_again(
    every_database: Database,
    start: Callable[..., Server],
    lasting: Callable[[float], float],
    tell: Callable[..., None],
) -> None:
    servers = start_all(every_database, start, DATABASE_CONNECTIONS="1")
    end = monotonic() + lasting(SECONDS)
    with ThreadPoolExecutor(ASKERS * len(servers)) as pool:
        askers = [pool.submit(asking, server, end) for server in servers for _ in range(ASKERS)]
        ended = end_sessions(every_database, end - monotonic())
        seen = {code for asker in askers for code in asker.result()}
    tell(ended=ended, answers={code.name if code else "OK" for code in seen})
    assert not [each for server in servers for each in server.faults_of_calls()]
    assert seen <= {None, grpc.StatusCode.UNAVAILABLE}
    for server in servers:
        server.wait_until(SERVING, 5)
        for _ in range(20):
            ask(server)
    assert within(5, lambda: not count(every_database, _AT_WORK)), "none is held"


def asking(server: Server, end: float) -> set[grpc.StatusCode | None]:
    """Ask until then; return how the calls ended."""
    seen: set[grpc.StatusCode | None] = set()
    while monotonic() < end:
        refused = attempt(partial(ask, server))
        seen.add(refused.code if refused else None)
    return seen
