"""Erasures beside ingest through two replicas with warm caches: nobody comes back, counts stay right."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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


def test_the_erased_stay_away_while_everybody_sends(
    start_service: Callable[..., Service], events_database: str
) -> None:
    replicas = [start_service(writers=2, auth="off", token_public_key_file=None) for _ in range(2)]
    stopping = threading.Event()
    erased = {person: ANONYMIZE if person % 4 == 1 else ERASE for person in range(PEOPLE) if person % 4 < 2}

    def write(seed: int) -> int:
        chance, refused = random.Random(seed), 0
        while not stopping.is_set():
            numbers = [chance.randrange(NUMBERS) for _ in range(BATCH)]
            reply = track(chance.choice(replicas), *map(event_of, numbers))
            assert all(numbers[each.index] % PEOPLE in erased for each in reply.rejections)
            refused += len(reply.rejections)
        return refused

    def fold() -> None:
        while not stopping.wait(0.01):
            compact(replicas[0].engine, 4_000)

    with (
        ThreadPoolExecutor(5) as pool,
        psycopg.connect(events_database, autocommit=True) as reader,
    ):
        jobs = [pool.submit(write, seed) for seed in range(4)]
        folding = pool.submit(fold)
        try:
            for person, mode in erased.items():
                # A device that nobody merged yet is somebody else.
                erase(replicas[person // 4 % 2], f"user-{person}", mode=mode)
                erase(replicas[person // 2 % 2], f"device-{person}", pb.USER_KIND_ANONYMOUS, mode)
                found = recount(reader, "UTC").mismatches
                assert [each for each in found if "of nobody" not in each] == []
        finally:
            stopping.set()
        refused = sum(job.result() for job in jobs)
        folding.result()
        until_settled(replicas[0])
        for start in range(0, NUMBERS, 500):
            for replica in replicas:
                reply = track(replica, *map(event_of, range(start, start + 500)))
                assert {(start + each.index) % PEOPLE for each in reply.rejections} == set(erased)
        until_settled(replicas[0])
        assert recount(reader, "UTC").mismatches == []
        kept = sum(number % PEOPLE not in erased for number in range(NUMBERS))
        gone = [f"event-{number}" for number in range(NUMBERS) if number % PEOPLE in erased]
        back = reader.execute("SELECT count(*) FROM events WHERE event_id_text = ANY(%s)", [gone]).fetchone()
        [anonymised] = reader.execute(
            "SELECT count(*) FROM events WHERE event_id_text IS NULL"
        ).fetchone() or (0,)
    assert back == (0,)
    assert refused
    assert counted(replicas[0])[0] == kept + anonymised
