"""Merges beside ingest through two replicas with warm caches: what is stored and counted at every moment.

Every event has an id of its own, and is sent again and again: before, during and after the merge of the
anonymous id that did it. So in every snapshot there are as many rows as different ids, roll-ups agree with
rows, and an acknowledged event is there.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from brain.events.v1 import events_pb2 as pb

from services.events.identity import moving
from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import SECOND, counted, link, track, until_settled
from tests.services.events.recount import recount

WRITERS = 4
BATCH = 30
DEVICES = 60
PASSES = 60
NEW_EACH_PASS = 60

_IDS = "SELECT count(*), count(DISTINCT event_id) FROM events"


class BrokenError(psycopg.OperationalError):
    """The connection broke."""


def device_of(number: int) -> int:
    return number * 13 % DEVICES


def event_of(number: int) -> pb.Event:
    """Return an event of a device; every seventh says whose the device is: two devices a user."""
    device = device_of(number)
    event = pb.Event(
        event_id=f"event-{number}",
        anonymous_id=f"device-{device}",
        user_id=f"user-{device // 2}" if number % 7 == 5 and device % 3 else "",
        session_id=f"session-{device}",
        event=("viewed", "bought")[number % 2],
        value=number % 7,
    )
    event.event_time.FromSeconds(SECOND + number * 977 % 400_000)
    return event


@dataclass
class Turmoil:
    """Writers, linkers and compactors on two replicas, until told to stop."""

    replicas: list[Service]
    allowed: int = 200
    acknowledged: set[int] = field(default_factory=set)
    accepted: int = 0
    retried: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self.stopping.is_set():
            numbers = [chance.randrange(self.allowed) for _ in range(BATCH)]
            reply = track(chance.choice(self.replicas), *map(event_of, numbers))
            assert not reply.rejections
            with self.lock:
                self.retried += len(self.acknowledged.intersection(numbers))
                self.acknowledged |= set(numbers)
                self.accepted += reply.accepted

    def link(self, devices: Iterator[int]) -> None:
        chance = random.Random(1)
        for device in devices:
            if self.stopping.is_set():
                return
            link(chance.choice(self.replicas), f"user-{device // 2}", f"device-{device}")
            time.sleep(0.02)

    def fold(self) -> None:
        while not self.stopping.is_set():
            compact(self.replicas[0].engine, 4_000)
            time.sleep(0.01)

    def check(self, connection: "psycopg.Connection[Any]") -> None:
        """Find as many rows as ids, all that was acknowledged, and roll-ups that agree."""
        with self.lock:
            least = len(self.acknowledged)
        with connection.transaction():
            [rows, different] = connection.execute(_IDS).fetchone() or (0, 0)
        assert rows == different
        assert least <= rows <= self.allowed
        assert recount(connection, "UTC").mismatches == []
        events, _ = counted(self.replicas[0])
        assert least <= events <= self.allowed


def often_broken(function: Callable[..., Any], chance: random.Random) -> Callable[..., Any]:
    """Let a move fail after it was done, every other time."""

    def broken(*arguments: object) -> Any:  # noqa: ANN401 - whatever it wraps
        result = function(*arguments)
        if chance.random() < 0.5:
            raise BrokenError("on purpose")
        return result

    return broken


def unlinked_devices() -> Iterator[int]:
    """Those that no event gives away."""
    return iter([device for device in range(DEVICES) if device % 3 == 0])


@pytest.mark.parametrize("passes", [PASSES, pytest.param(20 * PASSES, marks=pytest.mark.slow)])
def test_counts_are_of_different_events_at_all_times(
    start_service: Callable[..., Service], events_database: str, passes: int
) -> None:
    replicas = [start_service(writers=2, auth="off", token_public_key_file=None) for _ in range(2)]
    turmoil = Turmoil(replicas)
    with ThreadPoolExecutor(WRITERS + 2) as pool, psycopg.connect(events_database, autocommit=True) as reader:
        jobs = [pool.submit(turmoil.write, seed) for seed in range(WRITERS)]
        jobs += [pool.submit(turmoil.link, unlinked_devices()), pool.submit(turmoil.fold)]
        try:
            for _ in range(passes):
                turmoil.check(reader)
                turmoil.allowed += NEW_EACH_PASS
        finally:
            turmoil.stopping.set()
        for job in jobs:
            job.result()
        for device in unlinked_devices():
            link(replicas[1], f"user-{device // 2}", f"device-{device}")
        until_settled(replicas[0])
        turmoil.check(reader)
        everything = [event_of(number) for number in range(turmoil.allowed)]
        for start in range(0, turmoil.allowed, 500):
            for replica in replicas:
                track(replica, *everything[start : start + 500])
        assert counted(replicas[0]) == (turmoil.allowed, DEVICES // 2)
        assert recount(reader, "UTC").mismatches == []
    assert turmoil.retried > BATCH, "hardly anything was sent again"


def test_an_interrupted_merge_is_finished_by_somebody(
    start_service: Callable[..., Service], events_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other move fails at its end; what was asked for happens nevertheless, once."""
    broken = often_broken(moving.Mover._move, random.Random(3))  # noqa: SLF001 - where it breaks
    monkeypatch.setattr(moving.Mover, "_move", broken)
    replicas = [start_service(auth="off", token_public_key_file=None) for _ in range(2)]
    numbers = range(600)
    with psycopg.connect(events_database, autocommit=True) as reader:
        for start in range(0, 600, 30):
            track(replicas[start // 30 % 2], *map(event_of, numbers[start : start + 30]))
            assert recount(reader, "UTC").mismatches == []
        until_settled(replicas[0])
        assert recount(reader, "UTC").mismatches == []
        [users] = reader.execute("SELECT count(DISTINCT user_key) FROM events").fetchone() or (0,)
    devices = {device_of(number) for number in numbers}
    linked = {device for device in devices if device % 3}
    assert users == len(devices - linked) + len({device // 2 for device in linked})
    assert counted(replicas[0]) == (600, users)


def test_requests_of_a_process_that_died_are_taken_up(start_service: Callable[..., Service]) -> None:
    """The pair is committed with the events: whoever comes next merges."""
    service = start_service()
    service.application.housekeeper.stop()
    track(service, *map(event_of, range(6)))
    assert counted(service) == (6, 6)
    next_one = start_service()
    until_settled(next_one)
    with service.engine.connect() as connection:
        asked = connection.exec_driver_sql("SELECT count(*) FROM identity_log WHERE kind = 1").scalar_one()
    assert asked == 1
