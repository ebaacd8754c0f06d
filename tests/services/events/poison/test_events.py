"""Poisonous events: each is refused by name and alone, whatever stands beside it."""

import json
import math
from datetime import UTC, datetime

import grpc
import pytest
from brain.events.v1 import events_pb2 as pb
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.poison.conftest import stored

NOW = 1_321_000_000
TEXTS = (
    "event_id",
    "user_id",
    "anonymous_id",
    "session_id",
    "event",
    "category",
    "page",
    "referrer",
    "user_agent",
)
MEBIBYTE = 1 << 20


def good(name: str = "good", **changes: object) -> pb.Event:
    event = pb.Event(
        event_id=name, user_id="bob", session_id="s", event="tried", event_time=Timestamp(seconds=NOW - 60)
    )
    for field, value in changes.items():
        event.ClearField(field)  # type: ignore[arg-type]  # a name of the message's
        event.MergeFrom(pb.Event(**{field: value}))  # type: ignore[arg-type]
    return event


def year(number: int) -> Timestamp:
    return Timestamp(seconds=int(datetime(number, 6, 1, tzinfo=UTC).timestamp()))


def struct(value: Value) -> Struct:
    return Struct(fields={"n": value})


# What is wrong, and the fields that are named.
POISON: dict[str, tuple[pb.Event, set[str]]] = {
    "no session": (good(session_id=""), {"session_id"}),
    "no name": (good(event=""), {"event"}),
    "nothing": (pb.Event(), {"event", "session_id"}),
    "an id without a time": (pb.Event(event_id="x", session_id="s", event="e"), {"event_time"}),
    "year 1": (good(event_time=year(1)), {"event_time"}),
    "year 1999": (good(event_time=year(1999)), {"event_time"}),
    "year 9999": (good(event_time=year(9999)), {"event_time"}),
    "more than a day ahead": (good(event_time=Timestamp(seconds=NOW + 86_401)), {"event_time"}),
    "a time beyond time": (good(event_time=Timestamp(seconds=2**62)), {"event_time"}),
    "a time before time": (good(event_time=Timestamp(seconds=-(2**62))), {"event_time"}),
    "too many nanoseconds": (good(event_time=Timestamp(seconds=NOW, nanos=10**9)), {"event_time"}),
    "negative nanoseconds": (good(event_time=Timestamp(seconds=NOW, nanos=-1)), {"event_time"}),
    "NaN": (good(value=math.nan), {"value"}),
    "infinity": (good(value=math.inf), {"value"}),
    "minus infinity": (good(value=-math.inf), {"value"}),
    "a huge value": (good(value=1.1e12), {"value"}),
    "no JSON": (good(properties_json="{"), {"properties_json"}),
    "JSON that is no object": (good(properties_json="[1]"), {"properties_json"}),
    "NaN in JSON": (good(properties_json='{"n": NaN}'), {"properties_json"}),
    "a number beyond doubles": (good(properties_json='{"n": 1e200000}'), {"properties_json"}),
    "a lone surrogate": (good(properties_json='{"n": "\\ud800"}'), {"properties_json"}),
    "an escaped NUL": (good(properties_json='{"n": "\\u0000"}'), {"properties_json"}),
    "an escaped NUL in a name": (good(properties_json='{"\\u0000": 1}'), {"properties_json"}),
    "JSON nested 33 deep": (good(properties_json='{"n":' + "[" * 32 + "]" * 32 + "}"), {"properties_json"}),
    "JSON nested 1,000 deep": (
        good(properties_json='{"n":' + "[" * 1_000 + "]" * 1_000 + "}"),
        {"properties_json"},
    ),
    "JSON opened 60,000 times": (good(properties_json='{"n":' + "[" * 60_000), {"properties_json"}),
    "64 KiB of JSON": (good(properties_json=json.dumps({"n": "x" * 65_536})), {"properties_json"}),
    "NaN in a message": (good(properties=struct(Value(number_value=math.nan))), {"properties"}),
    "infinity in a message": (good(properties=struct(Value(number_value=math.inf))), {"properties"}),
    "a value of no kind": (good(properties=struct(Value())), {"properties"}),
    "NUL in a message": (good(properties=struct(Value(string_value="\0"))), {"properties"}),
    "64 KiB in a message": (good(properties=struct(Value(string_value="x" * 65_536))), {"properties"}),
    # Beyond the scale of PostgreSQL's numbers, and of none before them.
    "a number without end": (good(properties_json='{"n": 1e-20000}'), {"properties_json"}),
    **{f"NUL in {field}": (good(**{field: "a\0b"}), {field}) for field in TEXTS},
    **{f"a huge {field}": (good(**{field: "x" * 2_001}), {field}) for field in TEXTS},
    "everything": (
        pb.Event(
            **dict.fromkeys(TEXTS, "x" * 2_001),  # type: ignore[arg-type]
            event_time=year(1),
            value=math.nan,
            properties_json="{",
        ),
        {*TEXTS, "event_time", "value", "properties_json"},
    ),
    "NUL everywhere": (pb.Event(**dict.fromkeys(TEXTS, "\0"), event_time=year(9999)), {*TEXTS, "event_time"}),  # type: ignore[arg-type]
}
each_poison = pytest.mark.parametrize(("event", "fields"), POISON.values(), ids=POISON)


@each_poison
def test_a_poisonous_event_is_refused_and_every_bad_field_named(
    service: Service, event: pb.Event, fields: set[str]
) -> None:
    refused = refusal(lambda: service.events.TrackEvent(pb.TrackEventRequest(event=event)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {f"event.{field}" for field in fields}
    assert all(refused.fields.values())
    assert not stored(service)


@pytest.mark.parametrize("stream", [False, True])
def test_poison_in_a_batch_spoils_nothing_beside_it(service: Service, *, stream: bool) -> None:
    events = [good("first")]
    expected = set()
    for number, (event, fields) in enumerate(POISON.values()):
        expected |= {(len(events), field) for field in fields}
        events += [event, good(f"between-{number}")]
    reply: pb.TrackEventsResponse | pb.TrackEventStreamResponse
    if stream:
        batches = [pb.TrackEventStreamRequest(events=batch) for batch in (events, [good("last")])]
        reply, last = service.events.TrackEventStream(iter(batches), timeout=30)
        assert (last.sequence, last.accepted) == (1, 1)
    else:
        reply = service.events.TrackEvents(pb.TrackEventsRequest(events=events))
    assert {(each.index, each.field) for each in reply.rejections} == expected
    assert [each.index for each in reply.rejections] == sorted(each.index for each in reply.rejections)
    assert all(each.reason for each in reply.rejections)
    assert (reply.accepted, reply.duplicates) == (len(POISON) + 1, 0)
    names = {event.event_id for event in stored(service)}
    assert names - {"last"} == {"first", *(f"between-{number}" for number in range(len(POISON)))}


@pytest.mark.parametrize("field", ["properties_json", "page", "user_id", "event"])
def test_an_event_of_four_mebibytes_is_refused_by_its_field(service: Service, field: str) -> None:
    text = json.dumps({"n": "x" * 4 * MEBIBYTE}) if field == "properties_json" else "x" * 4 * MEBIBYTE
    event = good(**{field: text})
    refused = refusal(lambda: service.events.TrackEvent(pb.TrackEventRequest(event=event)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {f"event.{field}"}
    assert len(refused.message) < 2_000


def test_a_batch_says_which_limit_it_breaks(service: Service) -> None:
    few_large = [good(str(number), page="x" * 1_990, referrer="y" * 1_990) for number in range(1_200)]
    many = [good(str(number)) for number in range(5_001)]
    both = [good(str(number), page="x" * 900) for number in range(5_001)]
    for events, limits in (
        (many, ["5,000"]),
        (few_large, ["4 MiB"]),
        (both, ["5,000", "4 MiB"]),
        ([], ["at least one"]),
    ):
        for call in (
            lambda events=events: service.events.TrackEvents(pb.TrackEventsRequest(events=events)),
            lambda events=events: list(
                service.events.TrackEventStream(iter([pb.TrackEventStreamRequest(events=events)]), timeout=30)
            ),
        ):
            refused = refusal(call)
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
            assert set(refused.fields) == {"events"}
            assert all(limit in refused.message for limit in limits)
            assert ("5,000" in refused.message, "4 MiB" in refused.message) == (
                "5,000" in limits,
                "4 MiB" in limits,
            )
    assert not stored(service)


def test_the_largest_batches_there_may_be_are_stored(service: Service) -> None:
    many = [good(str(number)) for number in range(5_000)]
    assert service.events.TrackEvents(pb.TrackEventsRequest(events=many)).accepted == 5_000


def test_a_message_beyond_what_the_transport_takes_says_so(service: Service) -> None:
    event = good(page="x" * 9 * MEBIBYTE)
    refused = refusal(lambda: service.events.TrackEvent(pb.TrackEventRequest(event=event)))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(8 * MEBIBYTE) in refused.message


def test_a_bad_batch_ends_a_stream_and_keeps_what_was_acknowledged(service: Service) -> None:
    requests = [
        pb.TrackEventStreamRequest(events=[good("kept")]),
        pb.TrackEventStreamRequest(),
        pb.TrackEventStreamRequest(events=[good("never")]),
    ]
    answers = service.events.TrackEventStream(iter(requests), timeout=30)
    assert next(answers).accepted == 1
    refused = refusal(lambda: next(answers))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [event.event_id for event in stored(service)] == ["kept"]


@pytest.mark.parametrize(
    "event",
    [
        good("é" * 200),
        good(user_id="\U0001f600" * 200),
        good(session_id=" "),
        good(event="\ud7ff\ue000 '\"\\; DROP TABLE events --"),
        good(category="x" * 100),
        good(page="é" * 2_000),
        good(value=-1e12),
        good(value=-0.0),
        good(event_time=Timestamp(seconds=946_684_800)),
        good(event_time=Timestamp(seconds=NOW + 86_000)),
        good(properties_json='{"n":' + "[" * 31 + "]" * 31 + "}"),
        good(properties_json='{"n": "' + "[" * 1_000 + '\\" {{"}'),
        good(properties_json='{"a": 1, "a": 2, "": null, "' + "k" * 3_000 + '": 1e300}'),
        good(properties_json='{"n": "' + "x" * 65_000 + '"}'),
        pb.Event(session_id="s", event="neither id nor time"),
    ],
    ids=range(15),
)
def test_what_is_odd_but_no_poison_is_stored_as_it_came(service: Service, event: pb.Event) -> None:
    service.events.TrackEvent(pb.TrackEventRequest(event=event))
    [found] = stored(service)
    for field in ("user_id", "anonymous_id", "session_id", "event", "category", "page", "value"):
        assert getattr(found, field) == getattr(event, field)
    if event.event_id:
        assert (found.event_id, found.event_time) == (event.event_id, event.event_time)
    if event.properties_json:
        told = json.loads(found.properties_json, parse_int=float)
        assert told == json.loads(event.properties_json, parse_int=float)
