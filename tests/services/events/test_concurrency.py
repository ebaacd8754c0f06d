"""Many writers of overlapping batches through two replicas: each event is stored once, without deadlocks."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from brain.events.v1 import events_pb2 as pb

from deploy.postgres import EmbeddedPostgres
from services.events.domain import UserKind, Who
from services.events.users import UserDictionary
from shared.database import create_engine
from shared.encryption import BlindIndex, Keyring
from tests.clock import Clock
from tests.services.events.conftest import KEY, Service, running
from tests.services.events.made_events import made_events
from tests.services.events.recount import recount

WRITERS = 8
NUMBERS = range(4_000)


@dataclass(frozen=True)
class Written:
    """What one writer sent, and what the replies said."""

    sent: list[int]
    accepted: int
    duplicates: int


@pytest.fixture
def replicas(
    events_database: str, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[tuple[ExitStack, list[Service]]]:
    """Two of them, and what stops them."""
    with ExitStack() as stack:
        arguments = (events_database, Clock(), token_keys[0], public_key_file)
        yield stack, [stack.enter_context(running(*arguments, writers=4)) for _ in range(2)]


def write(replicas: list[Service], seed: int) -> Written:
    """Send half of the events in an order of this writer's own, a part of them twice."""
    chance = random.Random(seed)
    sent = [number for number in NUMBERS if chance.random() < 0.5]
    if seed % 2:
        sent.reverse()
    if seed % 3 == 0:
        chance.shuffle(sent)
    sent += sent[: len(sent) // 4]
    accepted = duplicates = start = 0
    while start < len(sent):
        end = start + chance.randint(50, 400)
        batch = pb.TrackEventsRequest(events=made_events(sent[start:end]))
        reply = chance.choice(replicas).events.TrackEvents(batch)
        assert not reply.rejections
        accepted, duplicates, start = accepted + reply.accepted, duplicates + reply.duplicates, end
    return Written(sent, accepted, duplicates)


def deadlocks(postgres: EmbeddedPostgres, url: str) -> int:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with postgres.connect() as connection:
        counted = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", [name])
        [number] = counted.fetchone() or [None]
    assert isinstance(number, int)
    return number


def test_parallel_writers_of_overlapping_batches_store_each_event_once(
    replicas: tuple[ExitStack, list[Service]], events_database: str, postgres: EmbeddedPostgres
) -> None:
    stack, services = replicas
    with ThreadPoolExecutor(WRITERS) as pool:
        written = list(pool.map(lambda seed: write(services, seed), range(WRITERS)))
    distinct = {number for each in written for number in each.sent}
    sent = sum(len(each.sent) for each in written)
    assert len(distinct) > 3_900
    assert sum(each.accepted for each in written) == len(distinct)
    assert sum(each.duplicates for each in written) == sent - len(distinct)

    stored: list[str] = []
    token = ""
    while token or not stored:
        page = services[0].events.QueryEvents(pb.QueryEventsRequest(page_size=1_000, page_token=token))
        stored += [event.event_id for event in page.events]
        token = page.next_page_token
    assert len(stored) == len(distinct)
    assert set(stored) == {f"event-{number}" for number in distinct}

    stack.close()  # connections tell their statistics when they end
    assert deadlocks(postgres, events_database) == 0
    with psycopg.connect(events_database, autocommit=True) as connection:
        recounted = recount(connection, "UTC")
    assert (recounted.events, recounted.mismatches) == (len(distinct), [])


def test_new_people_met_by_all_writers_at_once_get_one_key_each(
    events_database: str, postgres: EmbeddedPostgres
) -> None:
    """Without one order for all, inserts of the same new people wait for each other in a ring."""
    people = [(UserKind.USER, f"new-{number}") for number in range(2_000)]
    engine = create_engine(events_database, schema="events", pool_size=WRITERS, application_name="test")
    start = threading.Barrier(WRITERS)

    def meet(writer: int) -> dict[Who, int]:
        users = UserDictionary(engine, Keyring.parse(f"1:{KEY}"), BlindIndex.parse(KEY), 10_000)
        met = random.Random(writer).sample(people, len(people))
        start.wait()
        return users.keys(met)

    with ThreadPoolExecutor(WRITERS) as pool:
        keys = list(pool.map(meet, range(WRITERS)))
    engine.dispose()
    assert deadlocks(postgres, events_database) == 0
    assert all(each == keys[0] for each in keys)
    assert len(set(keys[0].values())) == len(people)
    with psycopg.connect(events_database) as connection:
        hashes = connection.execute("SELECT who_hash FROM users ORDER BY user_key").fetchall()
    assert len(hashes) == len(people)
    assert hashes == sorted(hashes), "each writer inserted in this one order"
