"""ScanEvents: columns that hold just the events of a chunk."""

import json
import random
from collections import defaultdict
from itertools import groupby

import numpy as np
import pytest
from brain.common.v1.common_pb2 import PROPERTY_OPERATOR_EQUALS, PropertyFilter, TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.events import answers
from services.events.reading import scanning
from tests.services.events.conftest import Service
from tests.services.events.made_events import made_events
from tests.services.events.scans import (
    DAY_SECONDS,
    NAMES,
    SOME_DAY,
    Chunk,
    day_range,
    known,
    on_day,
    rows,
    scan,
    track,
)

pytestmark = pytest.mark.usefixtures("unmerged")


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


def test_the_events_of_some_people_are_those_of_all_that_are_theirs(service: Service) -> None:
    track(service, made_events(range(300)))
    everybody = rows(scan(service))
    keys = sorted({key for chunk in everybody.values() for key, _ in chunk})[3:9:2]
    found = rows(scan(service, user_keys=keys))
    assert found == {name: [row for row in chunk if row[0] in keys] for name, chunk in everybody.items()}
    assert any(found.values())
    unknown = rows(scan(service, user_keys=[2**29 - 1]))
    assert not any(unknown.values())


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
    colours = columns["deep.colour"].dictionary_json
    assert len(set(colours)) == len(colours) == 6
    for row, time in enumerate(np.frombuffer(chunk.event_times, "<i8").tolist()):
        event = events[(time // 1_000_000 - SOME_DAY * DAY_SECONDS) // 7]
        assert values[row] == (round(event.value * 1_000_000) if event.HasField("value") else -(2**63))
        assert codes["absent"][row] == -1
        if not event.properties_json:
            assert codes["deep.colour"][row] == codes["number"][row] == -1
            continue
        sent = json.loads(event.properties_json)
        assert json.loads(columns["number"].dictionary_json[codes["number"][row]]) == sent["number"]
        colour = json.loads(colours[codes["deep.colour"][row]])
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


def test_a_scan_of_many_statements_answers_as_one_does(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(service, made_events(range(500)))
    whole = scan(service, with_value=True)
    assert len(whole) > 20
    monkeypatch.setattr(scanning, "STATEMENT_ROWS", 15)
    assert scan(service, with_value=True) == whole
    held = known({(each.event, each.day): each.revision for each in whole[::2]})
    again = scan(service, known_chunks=held, with_value=True)
    assert [each for each in again if not each.unchanged] == whole[1::2]


def decoded(parts: list[pb.ScanEventsResponse]) -> list[str]:
    """Return the first property of each event: every message has a dictionary of its own."""
    return [
        part.properties[0].dictionary_json[code]
        for part in parts
        for code in np.frombuffer(part.properties[0].codes, "<i4").tolist()
    ]


def test_events_of_several_categories_are_one_chunk(service: Service) -> None:
    track(service, [on_day(1), on_day(2, category="revenue"), on_day(3, category="other")])
    [chunk] = scan(service, time_range=day_range())
    assert chunk.row_count == 3
