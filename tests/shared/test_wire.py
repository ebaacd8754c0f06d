import time

import pytest
from brain.events.v1.events_pb2 import Event, TrackEventRequest, TrackEventsRequest
from brain.metrics.v1.metrics_pb2 import MetricQuery
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import FieldViolation
from shared.wire import undecodable

MARK = "BROKEN"
UTF8 = "is not valid UTF-8"


def broken(message: TrackEventsRequest | TrackEventRequest | MetricQuery) -> bytes:
    data = message.SerializeToString().replace(MARK.encode(), b"\xff" * len(MARK))
    with pytest.raises(DecodeError):
        type(message).FromString(data)
    return data


def test_the_broken_field_is_named_by_its_path() -> None:
    request = TrackEventsRequest(events=[Event(page="fine"), Event(event_id="1", value=2.5, page=MARK)])
    assert undecodable(broken(request), request) == [FieldViolation("events[1].page", UTF8)]
    single = TrackEventRequest(event=Event(user_id=MARK))
    assert undecodable(broken(single), single) == [FieldViolation("event.user_id", UTF8)]


def test_every_broken_field_of_every_item_is_named() -> None:
    events = [Event(page=MARK, user_id=MARK), Event(page="fine"), Event(user_id="1", page=MARK)]
    request = TrackEventsRequest(events=events)
    assert {violation.field for violation in undecodable(broken(request), request)} == {
        "events[0].page",
        "events[0].user_id",
        "events[2].page",
    }


def test_no_more_than_a_hundred_fields_are_named() -> None:
    request = TrackEventsRequest(events=[Event(page=MARK)] * 101)
    found = undecodable(broken(request), request)
    assert found == [FieldViolation(f"events[{index}].page", UTF8) for index in range(100)]


def test_a_broken_batch_full_of_small_fields_is_given_up_on_soon() -> None:
    request = TrackEventsRequest(events=[Event(page=MARK) for _ in range(1_000)])
    for event in request.events:
        event.properties.update({str(key): 1 for key in range(100)})
    data = broken(request)
    began = time.process_time()
    assert len(undecodable(data, request)) == 100
    assert time.process_time() - began < 2


def test_what_was_found_before_the_walk_was_given_up_is_told() -> None:
    request = TrackEventsRequest(events=[Event(page=MARK)])
    found = undecodable(broken(request) + b"\x10\x01" * 200_000, request)
    assert found == [FieldViolation("events[0].page", UTF8)]


def test_map_keys_and_values_are_named() -> None:
    query = MetricQuery(labels={"event": MARK})
    assert undecodable(broken(query), query) == [FieldViolation("labels[0].value", UTF8)]


def test_a_broken_text_inside_properties_is_named() -> None:
    request = TrackEventRequest()
    request.event.properties["city"] = MARK
    assert undecodable(broken(request), request) == [
        FieldViolation("event.properties.fields[0].value.string_value", UTF8)
    ]


def test_bytes_that_are_no_message_blame_the_whole() -> None:
    for data in (b"\xff" * 20, b"\x0a\x7f", b"\x0b", b"\x0a"):
        assert undecodable(data, TrackEventsRequest) == [
            FieldViolation("", "is not a valid brain.events.v1.TrackEventsRequest")
        ]


def test_a_part_that_is_no_message_is_named() -> None:
    [violation] = undecodable(b"\x0a\x02\x0a\x7f", TrackEventsRequest)
    assert violation == FieldViolation("events[0]", "is not a valid brain.events.v1.Event")


@pytest.mark.parametrize("levels", [60, 1_000, 20_000])
def test_deep_nesting_is_called_by_its_name(levels: int) -> None:
    value = b"\x1a\x01x"  # Value.string_value
    for _ in range(levels):
        items = b"\x0a" + varint(len(value)) + value  # ListValue.values
        value = b"\x32" + varint(len(items)) + items  # Value.list_value
    entry = b"\x12" + varint(len(value)) + value
    struct = b"\x0a" + varint(len(entry)) + entry
    event = b"\x52" + varint(len(struct)) + struct
    request = b"\x0a" + varint(len(event)) + event
    with pytest.raises(DecodeError):
        TrackEventRequest.FromString(request)
    [violation] = undecodable(request, TrackEventRequest)
    assert violation.field.startswith("event.properties.fields[0].value")
    assert violation.reason == "is nested deeper than 100 levels"


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def test_four_megabytes_of_tiny_fields_are_given_up_on_soon() -> None:
    began = time.process_time()
    [violation] = undecodable(b"\x10\x01" * (2 << 20) + b"\xff", TrackEventsRequest)
    assert violation.field == ""
    assert time.process_time() - began < 2


@given(st.binary(max_size=200))
def test_any_bytes_give_a_violation(data: bytes) -> None:
    assert undecodable(data, TrackEventsRequest)
