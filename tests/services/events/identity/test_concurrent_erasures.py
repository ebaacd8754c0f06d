"""Erasures beside ingest through two replicas with warm caches: nobody comes back, counts stay right."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
from brain.events.v1 import events_pb2 as pb

from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import SECOND, counted, track, until_settled
from tests.services.events.identity.test_erasing import ANONYMIZE, ERASE, erase
from tests.services.events.recount import recount

PEOPLE, BATCH, NUMBERS = 24, 20, 3_000


def event_of(number: int) -> pb.Event:
    person = number % PEOPLE
    event = pb.Event(
        event_id=f"event-{number}",
        user_id=f"user-{person}" if number % 5 else "",
        anonymous_id=f"device-{person}" if number % 5 < 2 else "",
        session_id="s",
        event=("viewed", "bought")[number % 2],
        value=number % 7,
    )
    event.event_time.FromSeconds(SECOND + number * 977 % 400_000)
    return event


ERASED = {person: ANONYMIZE if person % 4 == 1 else ERASE for person in range(PEOPLE) if person % 4 < 2}


@dataclass
class Turmoil:
    """Two replicas with warm caches: who writes, who folds, who erases."""

    replicas: list[Service]
    reader: "psycopg.Connection[Any]"
    stopping: threading.Event = field(default_factory=threading.Event)

    def write(self, seed: int) -> int:
        """Return how many events were refused."""
        chance, refused = random.Random(seed), 0
        while not self.stopping.is_set():
            numbers = [chance.randrange(NUMBERS) for _ in range(BATCH)]
            reply = track(chance.choice(self.replicas), *map(event_of, numbers))
            assert all(numbers[each.index] % PEOPLE in ERASED for each in reply.rejections)
            refused += len(reply.rejections)
        return refused

    def fold(self) -> None:
        while not self.stopping.wait(0.01):
            compact(self.replicas[0].engine, 4_000)

    def erase_all(self) -> None:
        try:
            for person, mode in ERASED.items():
                # A device that was not seen with its user yet is somebody else.
                erase(self.replicas[person // 4 % 2], f"user-{person}", mode=mode)
                erase(self.replicas[person // 2 % 2], f"device-{person}", pb.USER_KIND_ANONYMOUS, mode)
                found = recount(self.reader, "UTC").mismatches
                assert [each for each in found if "of nobody" not in each] == []
        finally:
            self.stopping.set()

    def send_all_again(self) -> None:
        for start in range(0, NUMBERS, 500):
            for replica in self.replicas:
                reply = track(replica, *map(event_of, range(start, start + 500)))
                assert {(start + each.index) % PEOPLE for each in reply.rejections} == set(ERASED)

    def stored(self, condition: str, *values: object) -> int:
        query = f"SELECT count(*) FROM events WHERE {condition}"
        [number] = self.reader.execute(query.encode(), values).fetchone() or (0,)
        return int(number)


def test_the_erased_stay_away_while_everybody_sends(
    start_service: Callable[..., Service], events_database: str
) -> None:
    replicas = [start_service(writers=2, auth="off", token_public_key_file=None) for _ in range(2)]
    with psycopg.connect(events_database, autocommit=True) as reader:
        turmoil = Turmoil(replicas, reader)
        with ThreadPoolExecutor(5) as pool:
            writers = [pool.submit(turmoil.write, seed) for seed in range(4)]
            folding = pool.submit(turmoil.fold)
            turmoil.erase_all()
            assert sum(writer.result() for writer in writers) > 0
            folding.result()
        until_settled(replicas[0])
        turmoil.send_all_again()
        until_settled(replicas[0])
        assert recount(reader, "UTC").mismatches == []
        gone = [f"event-{number}" for number in range(NUMBERS) if number % PEOPLE in ERASED]
        assert turmoil.stored("event_id_text = ANY(%s)", gone) == 0
        anonymised = turmoil.stored("event_id_text IS NULL")
    assert counted(replicas[0])[0] == NUMBERS - len(gone) + anonymised
