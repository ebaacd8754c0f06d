"""The writer on a real database: who shares a transaction, and who pays for an event PostgreSQL refuses."""

import threading
from collections.abc import Callable
from time import monotonic
from zoneinfo import ZoneInfo

import grpc
import pytest
import sqlalchemy
from brain.events.v1 import events_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.events.event_types import EventTypes
from services.events.ingest.batch import Batch
from services.events.ingest.group_commit import GroupCommit
from services.events.ingest.incoming import Rejected, read
from services.events.ingest.partitions import Partitions
from services.events.ingest.writer import Outcome, Writer
from services.events.rollups.cover import ReportingCalendar
from services.events.rollups.deltas import Groups
from services.events.users import UserDictionary
from shared.encryption import BlindIndex, Keyring
from tests.clock import Clock
from tests.refusals import attempt
from tests.services.events.conftest import KEY, Service
from tests.services.events.made_events import made_event

NOW = 1_321_000_000_000_000

# JSON in every respect, but beyond what a numeric holds: 16,383 digits behind the point.
POISONS = [
    f'{{"a": 0.{"0" * 16_383}1}}',
    f'{{"a": [{{"b": -1.5{"0" * 16_383}1}}]}}',
    f'{{"a": 0.{"0" * 16_100}1e-300}}',
]


@pytest.fixture
def writer(engine: sqlalchemy.Engine, clock: Clock) -> Writer:
    users = UserDictionary(engine, Keyring.parse(f"1:{KEY}"), BlindIndex.parse(KEY), 1_000)
    calendar = ReportingCalendar(ZoneInfo("UTC"))
    return Writer(engine, users, EventTypes(engine, 10_000), Partitions(engine), calendar, clock)


def poison(number: int, properties: str = POISONS[0]) -> pb.Event:
    event = made_event(number)
    event.properties_json = properties
    return event


def batch(*events: pb.Event) -> Batch:
    taken, rejected = read(events, NOW)
    assert rejected == []
    return taken


def write(writer: Writer, *batches: Batch) -> list[Outcome]:
    outcomes = []
    for outcome in writer.write(list(batches)):
        assert not isinstance(outcome, Exception)
        outcomes.append(outcome)
    return outcomes


def stored(engine: sqlalchemy.Engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.execute(sqlalchemy.text("SELECT event_id_text FROM events")).scalars())


def deltas(engine: sqlalchemy.Engine) -> list[int]:
    """The number of events in each delta."""
    with engine.connect() as connection:
        payloads = connection.execute(
            sqlalchemy.text("SELECT payload FROM event_deltas ORDER BY delta_id")
        ).scalars()
        return [int(Groups.unpack(payload).events.sum()) for payload in payloads]


def test_callers_of_a_group_share_one_transaction(writer: Writer, engine: sqlalchemy.Engine) -> None:
    outcomes = write(writer, *(batch(*map(made_event, range(start, start + 3))) for start in range(0, 30, 3)))
    assert [(outcome.accepted, outcome.duplicates, outcome.rejected) for outcome in outcomes] == [
        (3, 0, ())
    ] * 10
    assert deltas(engine) == [30]


def test_the_first_of_the_same_events_is_new(writer: Writer, engine: sqlalchemy.Engine) -> None:
    one, two, three = made_event(1), made_event(2), made_event(3)
    outcomes = write(writer, batch(one, two, one), batch(two, three))
    assert [outcome.is_new.tolist() for outcome in outcomes] == [[True, True, False], [False, True]]
    [again] = write(writer, batch(three, made_event(4)))
    assert again.is_new.tolist() == [False, True]
    assert write(writer, batch(one))[0].duplicates == 1
    assert stored(engine) == ["event-1", "event-2", "event-3", "event-4"]
    assert deltas(engine) == [3, 1]  # a transaction that stores nothing leaves none


@pytest.mark.parametrize("properties", POISONS, ids=range(len(POISONS)))
def test_each_poison_is_refused_alone(writer: Writer, engine: sqlalchemy.Engine, properties: str) -> None:
    outcomes = write(writer, batch(made_event(1)), batch(poison(2, properties)), batch(made_event(3)))
    assert [outcome.accepted for outcome in outcomes] == [1, 0, 1]
    [[refused]] = [outcome.rejected for outcome in outcomes if outcome.rejected]
    assert (refused.index, refused.field) == (0, "properties")
    assert refused.reason.startswith("was refused by the database: ")
    assert stored(engine) == ["event-1", "event-3"]


groups = st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=4)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(callers=groups)
def test_poison_anywhere_among_several_callers_harms_nobody_else(
    writer: Writer, engine: sqlalchemy.Engine, callers: list[list[bool]]
) -> None:
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("TRUNCATE events, event_deltas"))
    number, batches, good = 0, [], []
    for caller in callers:
        events = []
        for is_poison in caller:
            number += 1
            events.append(poison(number) if is_poison else made_event(number))
            good += [] if is_poison else [f"event-{number}"]
        batches.append(batch(*events))
    outcomes = write(writer, *batches)
    for caller, outcome in zip(callers, outcomes, strict=True):
        assert [refused.index for refused in outcome.rejected] == [at for at, bad in enumerate(caller) if bad]
        assert outcome.is_new.tolist() == [not bad for bad in caller]
        assert (outcome.accepted, outcome.duplicates) == (caller.count(False), 0)
    assert stored(engine) == sorted(good)
    assert sum(deltas(engine)) == len(good)


def test_a_refusal_names_the_position_in_what_the_caller_sent(writer: Writer) -> None:
    nameless = made_event(1)
    nameless.event = ""
    taken, rejected = read([nameless, made_event(2), nameless, poison(3), made_event(4)], NOW)
    [outcome] = write(writer, taken)
    assert [each.index for each in (*rejected, *outcome.rejected)] == [0, 2, 3]
    assert isinstance(outcome.rejected[0], Rejected)


def test_duplicates_beside_poison_are_counted_as_such(writer: Writer) -> None:
    write(writer, batch(made_event(1)))
    [outcome] = write(writer, batch(made_event(1), made_event(2), poison(3), made_event(2)))
    assert (outcome.accepted, outcome.duplicates, len(outcome.rejected)) == (1, 2, 1)


def waits_for_a_lock(engine: sqlalchemy.Engine) -> bool:
    with engine.connect() as connection:
        waiting = sqlalchemy.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(connection.execute(waiting).scalar_one())


def test_what_arrives_during_a_commit_shares_the_next(writer: Writer, engine: sqlalchemy.Engine) -> None:
    write(writer, batch(made_event(0)))
    queue = GroupCommit(writer.write, writers=1, queue_events=1_000)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("LOCK TABLE event_deltas IN SHARE MODE"))  # nobody commits now
        first = queue.submit(batch(made_event(1)))
        end = monotonic() + 20
        while not waits_for_a_lock(engine):
            assert monotonic() < end
            threading.Event().wait(0.01)
        others = [queue.submit(batch(made_event(number))) for number in range(2, 22)]
        assert not first.done()
    queue.close()
    assert all(future.result(20).accepted == 1 for future in [first, *others])
    assert deltas(engine) == [1, 1, 20]


def test_a_database_that_fails_is_told_to_the_group_and_forgotten(
    writer: Writer, engine: sqlalchemy.Engine
) -> None:
    write(writer, batch(made_event(1)))
    queue = GroupCommit(writer.write, writers=1, queue_events=1_000)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE event_deltas RENAME TO gone"))
    failed = queue.submit(batch(made_event(2)))
    assert isinstance(failed.exception(20), Exception)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE gone RENAME TO event_deltas"))
    assert queue.submit(batch(made_event(3))).result(20).accepted == 1
    queue.close()
    assert stored(engine) == ["event-1", "event-3"]  # without its delta, no event


@pytest.mark.parametrize("properties", POISONS[:1], ids=["long"])
def test_a_caller_of_one_event_hears_what_was_refused(
    start_service: Callable[..., Service], properties: str
) -> None:
    service = start_service()
    refusal = attempt(lambda: service.events.TrackEvent(pb.TrackEventRequest(event=poison(1, properties))))
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refusal.fields) == ["event.properties"]
    reply = service.events.TrackEvents(
        pb.TrackEventsRequest(events=[made_event(1), poison(2), made_event(3)])
    )
    assert (reply.accepted, [each.index for each in reply.rejections]) == (2, [1])
