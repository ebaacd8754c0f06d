"""ScanEvents: revisions that say what changed."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.made_events import made_event, made_events
from tests.services.events.scans import (
    DAY_SECONDS,
    SOME_DAY,
    Chunk,
    day_range,
    emptied,
    known,
    on_day,
    revisions,
    rows,
    scan,
    track,
)

pytestmark = pytest.mark.usefixtures("unmerged")


@pytest.mark.usefixtures("still")
def test_equal_sets_have_equal_revisions_in_any_order_of_arrival_and_folding(
    start_service: Callable[..., Service],
) -> None:
    service = start_service()
    shuffled = list(range(300))
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(shuffled)
        emptied(service)
        for start in range(0, len(shuffled), 60 + 40 * seed):
            track(service, made_events([*shuffled[start : start + 60 + 40 * seed], 7]))
            compact(service.engine, 300 * seed)  # none, a few, more of the deltas
        found.append(revisions(service))
        while compact(service.engine):
            assert revisions(service) == found[0]
    assert found[0]
    assert found[1:] == found[:1] * 2


def test_sets_that_differ_in_one_event_have_different_revisions(service: Service) -> None:
    variants = [
        pb.Event(),
        pb.Event(event_id="another"),
        pb.Event(user_id="another"),
        pb.Event(event_time=Timestamp(seconds=SOME_DAY * DAY_SECONDS + 71)),
        pb.Event(event_time=Timestamp(nanos=1_000)),
    ]
    found: list[int] = []
    for changes in variants:
        emptied(service)
        event = on_day(10)
        event.MergeFrom(changes)
        track(service, [*map(on_day, range(5)), event])
        found += revisions(service).values()
    assert len(set(found)) == len(found) == len(variants)


def test_every_event_changes_the_revision_of_its_chunk_alone(service: Service) -> None:
    track(service, made_events(range(200)))
    before = revisions(service)
    seen = {frozenset(before.items())}
    for number in range(200, 230):
        event = made_event(number)
        track(service, [event, made_event(number - 100)])
        now = revisions(service)
        chunk = (event.event, event.event_time.seconds // DAY_SECONDS)
        assert {name for name in now if now[name] != before.get(name)} == {chunk}
        before = now
        seen.add(frozenset(now.items()))
    assert len(seen) == 31, "no revision comes back"


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.usefixtures("still")
def test_what_the_caller_holds_is_not_sent_again(service: Service, *, folded: bool) -> None:
    track(service, made_events(range(300)))
    if folded:
        compact(service.engine)
    held = revisions(service)
    again = scan(service, known_chunks=known(held), with_value=True, properties=["plan"])
    assert all(each.unchanged and not each.row_count and not each.user_keys for each in again)
    assert {(each.event, each.day): each.revision for each in again} == held


def test_what_changed_since_is_sent_whole_and_nothing_else(service: Service) -> None:
    track(service, made_events(range(300)))
    held = revisions(service)
    late = made_event(1_000)
    track(service, [late])
    changed = (late.event, late.event_time.seconds // DAY_SECONDS)
    again = scan(service, known_chunks=known(held))
    assert [(each.event, each.day) for each in again if not each.unchanged] == [changed]
    assert {(each.event, each.day) for each in again} == held.keys() | {changed}
    assert rows(again)[changed] == rows(scan(service))[changed]


def test_what_is_unchanged_can_be_left_out_of_the_answer(service: Service) -> None:
    track(service, made_events(range(300)))
    held = revisions(service)
    assert scan(service, known_chunks=known(held), omit_unchanged=True) == []
    track(service, [made_event(1_000)])
    named = scan(service, known_chunks=known(held))
    changed = [each for each in named if not each.unchanged]
    assert len(changed) == 1
    assert scan(service, known_chunks=known(held), omit_unchanged=True) == changed
    gone = pb.KnownChunk(event="viewed", day=SOME_DAY - 1_000, revision=5)
    span = day_range(SOME_DAY - 1_000)
    [empty] = scan(service, time_range=span, known_chunks=[gone], omit_unchanged=True)
    assert (empty.day, empty.row_count, empty.unchanged) == (SOME_DAY - 1_000, 0, False)


def test_a_held_chunk_without_events_is_answered_empty(service: Service) -> None:
    """As where a day lost its last event."""
    track(service, [on_day(1)])
    gone = [pb.KnownChunk(event=name, day=SOME_DAY + 1, revision=5) for name in ("viewed", "never")]
    outside = pb.KnownChunk(event="viewed", day=SOME_DAY + 2, revision=5)
    other = pb.KnownChunk(event="bought", day=SOME_DAY, revision=5)
    found = scan(
        service,
        events=["viewed", "never"],
        time_range=day_range(days=2),
        known_chunks=[*gone, outside, other],
    )
    told = {(each.event, each.day): (each.row_count, each.revision, each.unchanged) for each in found}
    [(_, revision)] = [(name, each[1]) for name, each in told.items() if each[0]]
    assert told == {
        ("viewed", SOME_DAY): (1, revision, False),
        ("viewed", SOME_DAY + 1): (0, 0, False),
        ("never", SOME_DAY + 1): (0, 0, False),
    }


def test_an_event_committed_between_two_scans_is_always_noticed(service: Service) -> None:
    """Writers go on all the time; a reader keeps what it was sent and asks for what changed."""
    writers, batches = 3, 40

    def write(writer: int) -> None:
        for batch in range(batches):
            first = (writer * batches + batch) * 5
            track(service, [on_day(number) for number in range(first, first + 5)])

    held: dict[Chunk, int] = {}
    copy: dict[Chunk, list[tuple[int, int]]] = {}

    def refresh() -> None:
        received: dict[Chunk, list[tuple[int, int]]] = {}
        messages = scan(service, time_range=day_range(days=1), known_chunks=known(held))
        for message in messages:
            held[message.event, message.day] = message.revision
        received = rows(message for message in messages if not message.unchanged)
        copy.update(received)

    with ThreadPoolExecutor(writers) as pool:
        jobs = [pool.submit(write, writer) for writer in range(writers)]
        while not all(job.done() for job in jobs):
            committed = service.engine.connect()
            with committed as connection:
                least = connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
            refresh()
            assert sum(map(len, copy.values())) >= least
        for job in jobs:
            job.result()
    refresh()
    assert sum(map(len, copy.values())) == writers * batches * 5
    assert copy == rows(scan(service, time_range=day_range()))
