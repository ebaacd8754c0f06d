"""ScanEvents: revisions that say what changed, and columns that hold just the events."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
import pytest
from brain.common.v1.common_pb2 import PROPERTY_OPERATOR_EQUALS, PropertyFilter, TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.events import answers
from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.made_events import made_event, made_events

NAMES = ["viewed", "bought", "returned", "searched", "shared"]
SPAN = TimeRange(start_time=Timestamp(seconds=1_312_000_000), end_time=Timestamp(seconds=1_322_000_000))
DAY_SECONDS = 86_400
SOME_DAY = 15_200  # 2011-08-14

Chunk = tuple[str, int]


def track(service: Service, events: Iterable[pb.Event]) -> None:
    reply = service.events.TrackEvents(pb.TrackEventsRequest(events=events))
    assert not reply.rejections


def scan(service: Service, **changes: object) -> list[pb.ScanEventsResponse]:
    request = {"events": NAMES, "time_range": SPAN, **changes}
    return list(service.events.ScanEvents(pb.ScanEventsRequest(**request)))  # type: ignore[arg-type]


def revisions(service: Service) -> dict[Chunk, int]:
    return {(each.event, each.day): each.revision for each in scan(service)}


def known(held: dict[Chunk, int]) -> list[pb.KnownChunk]:
    return [pb.KnownChunk(event=event, day=day, revision=held[event, day]) for event, day in held]


def rows(messages: Iterable[pb.ScanEventsResponse]) -> dict[Chunk, list[tuple[int, int]]]:
    """Return (user key, time) pairs by chunk, parts put together."""
    found: dict[Chunk, list[tuple[int, int]]] = defaultdict(list)
    for message in messages:
        keys = np.frombuffer(message.user_keys, "<i4").tolist()
        times = np.frombuffer(message.event_times, "<i8").tolist()
        assert len(keys) == len(times) == message.row_count
        found[message.event, message.day] += zip(keys, times, strict=True)
    return dict(found)


def on_day(number: int, day: int = SOME_DAY, **changes: object) -> pb.Event:
    event = pb.Event(event_id=f"scan-{number}", user_id=f"user-{number % 20}", session_id="s", event="viewed")
    event.event_time.FromSeconds(day * DAY_SECONDS + number * 7)
    event.MergeFrom(pb.Event(**changes))  # type: ignore[arg-type]
    return event


def day_range(first: int = SOME_DAY, days: int = 1) -> TimeRange:
    start, end = first * DAY_SECONDS, (first + days) * DAY_SECONDS
    return TimeRange(start_time=Timestamp(seconds=start), end_time=Timestamp(seconds=end))


@pytest.mark.usefixtures("still")
def test_equal_sets_have_equal_revisions_in_any_order_of_arrival_and_folding(
    start_service: Callable[..., Service],
) -> None:
    service = start_service()
    shuffled = list(range(300))
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(shuffled)
        with service.engine.begin() as connection:
            connection.exec_driver_sql("TRUNCATE events, event_deltas, event_hours, event_days")
        for start in range(0, len(shuffled), 60 + 40 * seed):
            track(service, made_events([*shuffled[start : start + 60 + 40 * seed], 7]))
            compact(service.engine, 300 * seed)  # none, a few, more of the deltas
        found.append(revisions(service))
        while compact(service.engine):
            assert revisions(service) == found[0]
    assert found[0]
    assert found[1:] == found[:1] * 2


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


def test_columns_are_sorted_and_hold_each_event_of_the_touched_days(service: Service) -> None:
    sent = made_events(range(500))
    track(service, sent)
    # From the middle of a day to the middle of another.
    span = TimeRange(start_time=Timestamp(seconds=1_314_000_000), end_time=Timestamp(seconds=1_317_000_000))
    first, last = 1_314_000_000 // DAY_SECONDS, 1_317_000_000 // DAY_SECONDS
    expected: dict[Chunk, list[int]] = defaultdict(list)
    for event in sent:
        day = event.event_time.seconds // DAY_SECONDS
        if first <= day <= last and event.event != "shared":
            expected[event.event, day].append(event.event_time.ToMicroseconds())
    found = rows(scan(service, events=NAMES[:-1], time_range=span))
    assert {name: sorted(time for _, time in found[name]) for name in found} == {
        name: sorted(times) for name, times in expected.items()
    }
    assert all(chunk == sorted(chunk) for chunk in found.values())


def test_a_filter_sends_only_what_meets_it_and_keeps_the_revision_of_all(service: Service) -> None:
    plans = ["pro", "free", "pro", None, "trial"]
    events = [on_day(number, properties_json=json.dumps({"plan": plans[number % 5]})) for number in range(50)]
    events += [on_day(50), on_day(51, SOME_DAY + 1)]
    track(service, events)
    only = PropertyFilter(
        property="plan", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="pro")]
    )
    whole = scan(service, time_range=day_range(days=2))
    found = scan(service, time_range=day_range(days=2), filters=[only])
    assert [each.row_count for each in whole] == [51, 1]
    assert [each.row_count for each in found] == [20, 0]
    assert [each.revision for each in found] == [each.revision for each in whole]
    times = {time // 1_000_000 - SOME_DAY * DAY_SECONDS for _, time in rows(found)["viewed", SOME_DAY]}
    assert times == {number * 7 for number in range(50) if plans[number % 5] == "pro"}


def test_values_and_properties_stand_beside_their_events(service: Service) -> None:
    rng = random.Random(5)
    events = []
    for number in range(200):
        event = on_day(number)
        if number % 3:
            event.value = rng.randrange(-10_000, 10_000) / 100
        if number % 4:
            colour = rng.choice(["red", "green", 3, None, [1], {"a": 1}])
            event.properties_json = json.dumps({"deep": {"colour": colour}, "number": number})
        events.append(event)
    track(service, events)
    [chunk] = scan(
        service, time_range=day_range(), with_value=True, properties=["deep.colour", "number", "absent"]
    )
    columns = {each.property: each for each in chunk.properties}
    assert list(columns) == ["deep.colour", "number", "absent"]
    codes = {name: np.frombuffer(each.codes, "<i4").tolist() for name, each in columns.items()}
    values = np.frombuffer(chunk.values, "<i8").tolist()
    assert (
        len(set(columns["deep.colour"].dictionary_json)) == len(columns["deep.colour"].dictionary_json) == 6
    )
    for row, time in enumerate(np.frombuffer(chunk.event_times, "<i8").tolist()):
        event = events[(time // 1_000_000 - SOME_DAY * DAY_SECONDS) // 7]
        assert values[row] == (round(event.value * 1_000_000) if event.HasField("value") else -(2**63))
        assert codes["absent"][row] == -1
        if not event.properties_json:
            assert codes["deep.colour"][row] == codes["number"][row] == -1
            continue
        sent = json.loads(event.properties_json)
        assert json.loads(columns["number"].dictionary_json[codes["number"][row]]) == sent["number"]
        colour = json.loads(columns["deep.colour"].dictionary_json[codes["deep.colour"][row]])
        assert colour == sent["deep"]["colour"]


def test_a_large_chunk_comes_in_parts(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [on_day(number, properties_json=json.dumps({"n": number % 9})) for number in range(105)]
    events += [on_day(200, SOME_DAY + 1), on_day(201, SOME_DAY + 1)]
    track(service, events)
    [whole, _] = scan(service, time_range=day_range(days=2), with_value=True, properties=["n"])
    monkeypatch.setattr(answers, "MESSAGE_ROWS", 10)
    parts = scan(service, time_range=day_range(days=2), with_value=True, properties=["n"])
    by_day = {day: list(found) for day, found in groupby(parts, key=lambda part: part.day)}
    assert [part.row_count for part in by_day[SOME_DAY]] == [10] * 10 + [5]
    assert [part.partial for part in by_day[SOME_DAY]] == [True] * 10 + [False]
    assert [(part.row_count, part.partial) for part in by_day[SOME_DAY + 1]] == [(2, False)]
    assert {part.revision for part in by_day[SOME_DAY]} == {whole.revision}
    assert b"".join(part.user_keys for part in by_day[SOME_DAY]) == whole.user_keys
    assert b"".join(part.event_times for part in by_day[SOME_DAY]) == whole.event_times
    assert decoded(by_day[SOME_DAY]) == decoded([whole])


def decoded(parts: list[pb.ScanEventsResponse]) -> list[str]:
    """Return the first property of each event: every message has a dictionary of its own."""
    return [
        part.properties[0].dictionary_json[code]
        for part in parts
        for code in np.frombuffer(part.properties[0].codes, "<i4").tolist()
    ]


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


def test_events_of_several_categories_are_one_chunk(service: Service) -> None:
    track(service, [on_day(1), on_day(2, category="revenue"), on_day(3, category="other")])
    [chunk] = scan(service, time_range=day_range())
    assert chunk.row_count == 3
