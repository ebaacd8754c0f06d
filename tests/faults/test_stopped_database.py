"""Row 3: PostgreSQL stops without a word and comes back, again and again, under load."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from time import monotonic, sleep

import grpc
import pytest

from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.every_service import ask, start_all
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Manner
from tests.faults.servers import NOT_SERVING, SERVING, Server
from tests.refusals import refusal

pytestmark = pytest.mark.faults

OUTAGES = 5
MEANWHILE_SECONDS = 1.0
NOT_SERVING_SECONDS = 5
SERVING_SECONDS = 10
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_outages_lose_nothing_and_end_by_themselves(
    database: Database,
    start: Callable[..., Server],
    ledger: Ledger,
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    server = start("events", database.url("events"))
    to_not_serving, to_serving = [], []
    manner = Manner(retry_seconds=0, call_seconds=20)
    with Load(ledger, lambda _client: server.plain_channel(), manner) as load:
        for _ in range(OUTAGES):
            assert load.gets_through(500, SERVING_SECONDS)
            database.postgres.stop_immediately()
            to_not_serving.append(server.wait_until(NOT_SERVING, NOT_SERVING_SECONDS))
            with Load(ledger, lambda _client: server.plain_channel(), manner) as meanwhile:
                sleep(MEANWHILE_SECONDS)
            assert set(meanwhile.tally.failed_calls) == {UNAVAILABLE}
            assert meanwhile.tally.calls == meanwhile.tally.failed_calls.total() > MEANWHILE_SECONDS
            database.postgres.start()
            to_serving.append(server.wait_until(SERVING, SERVING_SECONDS))
    verdict = judge()
    tell(
        outages=OUTAGES,
        not_serving_after=f"{max(to_not_serving):.1f} s",
        serving_after=f"{max(to_serving):.1f} s",
        **load.tally.figures(),
    )
    assert not verdict.problems
    assert set(load.tally.failed_calls) == {UNAVAILABLE}
    assert server.starts == 1


def test_every_service_says_so_and_heals(
    every_database: Database, start: Callable[..., Server], tell: Callable[..., None]
) -> None:
    with ExitStack() as stack:
        servers = start_all(every_database, start)
        for server in servers:
            ask(server)
        every_database.postgres.stop_immediately()
        stack.callback(_ensure_running, every_database)
        stopped = monotonic()
        for server in servers:
            server.wait_until(NOT_SERVING, NOT_SERVING_SECONDS - (monotonic() - stopped))
            refused = refusal(partial(ask, server))
            assert (server.name, refused.code) == (server.name, UNAVAILABLE)
        every_database.postgres.start()
        started = monotonic()
        for server in servers:
            server.wait_until(SERVING, SERVING_SECONDS - (monotonic() - started))
            ask(server)
        tell(services=len(servers), serving_after=f"{monotonic() - started:.1f} s")
        assert {server.starts for server in servers} == {1}


def _ensure_running(database: Database) -> None:
    if not database.postgres.is_running():
        database.postgres.start()
