"""Writers, compactors, broken connections and a restart at the same time, and a checker beside them."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import psycopg
import pytest
from brain.common.v1.common_pb2 import INTERVAL_HOUR, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.postgres import EmbeddedPostgres
from services.events.ingest import store
from services.events.rollups import compaction
from services.events.rollups.compaction import compact
from shared.database import create_engine
from tests.clock import Clock
from tests.services.events.conftest import Service, running
from tests.services.events.made_events import POISON, made_events
from tests.services.events.recount import Recount, recount

ZONE = "Asia/Kolkata"
WRITERS, COMPACTORS = 4, 2
BATCH = 40
MOST_NEW = 6
BATCHES_EACH_PASS, NEW_EACH_PASS = 3, 10
SOME_BYTES = 20_000  # a fold of a few deltas
ALL_TIME = TimeRange(start_time=Timestamp(seconds=1_312_000_000), end_time=Timestamp(seconds=1_322_000_000))


class BrokenError(psycopg.OperationalError):
    """The connection broke."""


def often_broken(function: Callable[..., Any], odds: float, chance: random.Random) -> Callable[..., Any]:
    """Let a step of a transaction fail after it was done, now and then."""

    def broken(*arguments: object) -> Any:  # noqa: ANN401 - whatever it wraps
        result = function(*arguments)
        if chance.random() < odds:
            raise BrokenError("on purpose")
        return result

    return broken


@dataclass
class Replica:
    """The service, which may be restarted while it is called."""

    start: Callable[[], AbstractContextManager[Service]]
    running: ExitStack = field(default_factory=ExitStack)
    channels: ExitStack = field(default_factory=ExitStack)  # closed last: callers may still be using them
    serving: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._open()

    @property
    def stub(self) -> EventsServiceStub:
        """Calls the replica that serves, once one does."""
        assert self.serving.wait(30)
        return self._stub

    def _open(self) -> None:
        service = self.running.enter_context(self.start())
        # Without the retries of our own channels, which would wait longer than an interruption lasts.
        address = f"127.0.0.1:{service.application.server.port}"
        self._stub = EventsServiceStub(self.channels.enter_context(grpc.insecure_channel(address)))
        self.serving.set()

    def restart(self) -> None:
        self.serving.clear()
        self.running.close()
        self._open()

    def close(self) -> None:
        self.running.close()
        self.channels.close()


@dataclass
class Ledger:
    """What was sent, and what was acknowledged. Safe to share between threads."""

    sent: set[int] = field(default_factory=set)
    stored: set[int] = field(default_factory=set)
    accepted: int = 0
    batches: int = 0
    failures: int = 0
    lock: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, batches: int) -> None:
        """Wait until so many batches are acknowledged."""
        with self.lock:
            assert self.lock.wait_for(lambda: self.batches >= batches, timeout=30)

    def acknowledge(self, numbers: set[int], accepted: int) -> None:
        with self.lock:
            self.stored |= numbers
            self.accepted += accepted
            self.batches += 1
            self.lock.notify_all()

    def fail(self, error: grpc.RpcError) -> None:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise error
        with self.lock:
            self.failures += 1


@dataclass
class Turmoil:
    """Everything at once, until told to stop."""

    replica: Replica
    engine: Any
    ledger: Ledger = field(default_factory=Ledger)
    stopping: threading.Event = field(default_factory=threading.Event)
    new_numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    # How many different events there may be by now: more in each pass, so that passes stay short.
    allowed: int = 500
    folded: int = 0

    def write(self, seed: int) -> None:
        """Send batches, mostly of events already sent, some with a poisonous one, until acknowledged."""
        chance = random.Random(seed)
        known = 1
        while not self.stopping.is_set():
            new = []
            if known < self.allowed:
                new = [next(self.new_numbers) for _ in range(chance.randint(0, MOST_NEW))]
                known = max([known, *new])
            numbers = new + [chance.randrange(known) for _ in range(BATCH - len(new))]
            chance.shuffle(numbers)
            with self.ledger.lock:
                self.ledger.sent.update(numbers)
            events = made_events(numbers)
            if chance.random() < 0.1:
                events.insert(chance.randrange(BATCH), POISON)
            self._send(numbers, pb.TrackEventsRequest(events=events))

    def _send(self, numbers: list[int], batch: pb.TrackEventsRequest) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                reply = self.replica.stub.TrackEvents(batch, timeout=20)
            except grpc.RpcError as error:
                self.ledger.fail(error)
                continue
            self.ledger.acknowledge(set(numbers), reply.accepted)
            return
        raise AssertionError("a batch was never acknowledged")

    def fold(self) -> None:
        """Fold a few deltas at a time, beside the service's own compaction."""
        while not self.stopping.is_set():
            try:
                self.folded += compact(self.engine, SOME_BYTES)
            except psycopg.Error:
                continue

    def read(self) -> None:
        """Ask for a count, which must lie between what was acknowledged before and what is sent after."""
        question = pb.CountEventsRequest(time_range=ALL_TIME, interval=INTERVAL_HOUR)
        while not self.stopping.is_set():
            with self.ledger.lock:
                least = len(self.ledger.stored)
            try:
                counts = self.replica.stub.CountEvents(question, timeout=20).counts
            except grpc.RpcError as error:
                self.ledger.fail(error)
                continue
            with self.ledger.lock:
                most = len(self.ledger.sent)
            assert least <= sum(count.events for count in counts) <= most


@pytest.fixture
def replica(
    events_database: str, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[Replica]:
    def start() -> AbstractContextManager[Service]:
        return running(
            events_database,
            Clock(),
            token_keys[0],
            public_key_file,
            auth="off",
            token_public_key_file=None,
            reporting_time_zone=ZoneInfo(ZONE),
            writers=WRITERS,
        )

    replica = Replica(start)
    yield replica
    replica.close()


def end_somebody(postgres: EmbeddedPostgres, database: str, chance: random.Random) -> None:
    """End a connection of the service in the middle of what it does."""
    with postgres.connect() as connection:
        pids = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'brain-events'"
            " AND state <> 'idle'",
            [database],
        ).fetchall()
        if pids:
            connection.execute("SELECT pg_terminate_backend(%s)", chance.choice(pids))


def passes(turmoil: Turmoil, postgres: EmbeddedPostgres, database: str, number: int) -> Iterator[Recount]:
    """Check again and again while everything goes on; end connections, and restart in the middle."""
    chance = random.Random(number)
    with psycopg.connect(database, autocommit=True) as connection:
        for done in range(number):
            turmoil.ledger.wait_for(BATCHES_EACH_PASS * (done + 1))
            yield recount(connection, ZONE)
            turmoil.allowed += NEW_EACH_PASS
            if done % 5 == 4:
                end_somebody(postgres, connection.info.dbname, chance)
            if done == number // 2:
                turmoil.replica.restart()
        turmoil.stopping.set()


@pytest.mark.parametrize("number", [100, pytest.param(1_000, marks=pytest.mark.slow)])
def test_roll_ups_equal_a_recount_of_raw_events_at_all_times(
    number: int,
    replica: Replica,
    postgres: EmbeddedPostgres,
    events_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(1)
    monkeypatch.setattr(compaction, "_merge", often_broken(compaction._merge, 0.1, chance))  # noqa: SLF001
    monkeypatch.setattr(store, "_append_delta", often_broken(store._append_delta, 0.03, chance))  # noqa: SLF001
    engine = create_engine(events_database, schema="events", pool_size=COMPACTORS, application_name="test")
    turmoil = Turmoil(replica, engine)
    with ThreadPoolExecutor(WRITERS + COMPACTORS + 1) as pool:
        jobs = [pool.submit(turmoil.write, seed) for seed in range(WRITERS)]
        jobs += [pool.submit(turmoil.fold) for _ in range(COMPACTORS)] + [pool.submit(turmoil.read)]
        try:
            found = list(passes(turmoil, postgres, events_database, number))
        finally:
            turmoil.stopping.set()
        for job in jobs:
            job.result()
    monkeypatch.undo()

    assert [mismatch for each in found for mismatch in each.mismatches] == []
    while compact(engine):
        pass
    with psycopg.connect(events_database, autocommit=True) as connection:
        end = recount(connection, ZONE)
    assert end == Recount(len(turmoil.ledger.sent), 0, [])
    assert turmoil.ledger.stored == turmoil.ledger.sent
    assert turmoil.ledger.failures
    assert turmoil.folded
    assert any(each.deltas for each in found)
    engine.dispose()
