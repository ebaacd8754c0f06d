"""Properties come and go while events are stored: none is lost from their roll-ups, none counted twice."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import pytest
from brain.events.v1 import events_pb2 as pb

from services.events.rollups.cover import ReportingCalendar
from services.events.value_rollups.filling import fill_one
from services.events.value_rollups.folding import fold_values, sweep
from services.events.value_rollups.forgetting import forget_values
from tests.services.events.conftest import Service
from tests.services.events.property_events import Sent, sent_events
from tests.services.events.registering import (
    KOLKATA,
    READY,
    fill,
    listed,
    mismatches,
    recounted,
    register,
    send,
    unregister,
)


@dataclass
class Turmoil:
    """Two replicas with warm caches: who writes, who folds, and who registers, fills, and gives up."""

    replicas: list[Service]
    sent: list[Sent]
    seed: int
    stopping: threading.Event = field(default_factory=threading.Event)

    def write(self, number: int) -> None:
        own, chance = self.sent[number::4], random.Random(number)
        while own:
            size = chance.randint(1, 12)
            batch, own = own[:size], own[size:]
            again = chance.sample(self.sent, 3)  # stored already, or stored again by others later
            events = [each.event for each in {id(each): each for each in (*batch, *again)}.values()]
            self.replicas[number % 2].events.TrackEvents(pb.TrackEventsRequest(events=events))

    def fold(self) -> None:
        while not self.stopping.is_set():
            fold_values(self.replicas[0].engine, 2_000)

    def manage(self) -> int:
        """Check after each change; return how many properties were found to be ready, all in all."""
        chance, calendar, ready = random.Random(self.seed), ReportingCalendar(KOLKATA), 0
        while not self.stopping.is_set():
            path, event = chance.choice(["plan", "address.city", "plan.1"]), chance.choice(["", "viewed"])
            if chance.random() < 0.6:
                register(self.replicas[1], path, event)
            else:
                unregister(self.replicas[0], path, event)
            fill_one(self.replicas[chance.randrange(2)].engine, calendar)
            if chance.random() < 0.3:
                sweep(self.replicas[0].engine)
                forget_values(self.replicas[0].engine, 0)
            number, found = recounted(self.replicas[0], KOLKATA)
            assert found == []
            ready += number
        return ready


@pytest.mark.parametrize("seed", range(2))
def test_no_moment_of_registering_loses_or_doubles_an_event(
    by_hand: None, start_service: Callable[..., Service], seed: int
) -> None:
    replicas = [start_service(reporting_time_zone=KOLKATA, writers=3) for _ in range(2)]
    turmoil = Turmoil(replicas, sent_events(100 + seed, 1_000), seed)
    with ThreadPoolExecutor(6) as pool:
        folding, managing = pool.submit(turmoil.fold), pool.submit(turmoil.manage)
        try:
            list(pool.map(turmoil.write, range(4)))
        finally:
            turmoil.stopping.set()
        folding.result()
        assert managing.result() > 0
    for path in ("plan", "address.city"):
        register(replicas[0], path)
    fill(replicas[0])
    assert recounted(replicas[0], KOLKATA)[1] == []
    with replicas[0].engine.begin() as connection:
        stored = connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
    assert stored == len(turmoil.sent)


def test_two_fill_at_once_and_one_does(by_hand: None, service: Service) -> None:
    send(service, sent_events(8, 200))
    for path in ("plan", "address", "address.city", "plan.a"):
        register(service, path)
    calendar = ReportingCalendar(ZoneInfo("UTC"))
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            list(pool.map(lambda _: fill_one(service.engine, calendar), range(2)))
    assert set(listed(service).values()) == {READY}
    assert mismatches(service, 4) == []
