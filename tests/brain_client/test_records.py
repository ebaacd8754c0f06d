import json
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from brain.events.v1.events_pb2 import Event

from brain_client.records import Columns, event_maker

LINE = {"event": "e", "session_id": "s", "event_time": "2011-12-09 12:50:00"}


def made(record: Mapping[str, object], columns: Columns | None = None) -> Event:
    return event_maker(columns or Columns(), lambda number: f"line-{number}")(7, record)


def test_columns_named_like_fields_fill_them_and_others_become_properties() -> None:
    event = made({**LINE, "user_id": "u", "value": "2.50", "country": "France", "zip": "0078"})
    assert (event.event, event.session_id, event.user_id, event.value) == ("e", "s", "u", 2.5)
    assert json.loads(event.properties_json) == {"country": "France", "zip": "0078"}


def test_a_line_without_an_id_gets_that_of_its_number_and_keeps_its_own() -> None:
    assert made(LINE).event_id == "line-7"
    assert made({**LINE, "event_id": "own"}).event_id == "own"


def test_times_without_an_offset_are_of_the_zone_asked_for() -> None:
    india = Columns(time_zone=ZoneInfo("Asia/Kolkata"))
    assert made(LINE, india).event_time.ToDatetime(UTC) == datetime(2011, 12, 9, 7, 20, tzinfo=UTC)
    aware = {**LINE, "event_time": "2011-12-09T12:50:00.123456Z"}
    assert made(aware, india).event_time.ToDatetime(UTC) == datetime(
        2011, 12, 9, 12, 50, 0, 123456, tzinfo=UTC
    )


def test_columns_can_be_renamed_and_constants_fill_gaps_only() -> None:
    columns = Columns(
        renamed={"who": "user_id", "note": "properties.remark", "page": "properties.page"},
        constants={"event": "sold", "properties.shop": "north"},
    )
    event = made(
        {"session_id": "s", "event_time": "2020-01-01", "who": "u", "note": "n", "page": "3"}, columns
    )
    assert (event.event, event.user_id, event.page) == ("sold", "u", "")
    assert json.loads(event.properties_json) == {"shop": "north", "remark": "n", "page": "3"}
    assert made({**LINE, "event": "own"}, columns).event == "own"


def test_numbers_are_numbers_where_asked_for() -> None:
    columns = Columns(numbers=frozenset({"quantity", "price"}))
    event = made({**LINE, "quantity": "6", "price": "2.55"}, columns)
    assert event.properties_json == '{"quantity":6,"price":2.55}'


def test_properties_of_json_keep_their_types_and_nesting() -> None:
    event = made({**LINE, "properties": {"a": {"b": [1, None, True]}}, "c": 1.5})
    assert json.loads(event.properties_json) == {"a": {"b": [1, None, True]}, "c": 1.5}


def test_whole_numbers_are_taken_for_ids() -> None:
    assert made({**LINE, "user_id": 12_345}).user_id == "12345"


def test_null_is_absent() -> None:
    event = made({**LINE, "user_id": None, "value": None})
    assert event.user_id == ""
    assert not event.HasField("value")


@pytest.mark.parametrize(
    ("record", "columns", "complaint"),
    [
        ({"event_time": ""}, Columns(), "event_time is required"),
        ({"event_time": "yesterday"}, Columns(), "event_time must be ISO 8601, not 'yesterday'"),
        ({"event_time": 1_323_435_000}, Columns(), "event_time must be a text"),
        ({"value": "much"}, Columns(), "value must be a number, not 'much'"),
        ({"value": "inf"}, Columns(), "value must be finite"),
        ({"value": True}, Columns(), "value must be a number"),
        ({"quantity": "six"}, Columns(numbers=frozenset({"quantity"})), "quantity must be a number"),
        ({"user_id": ["u"]}, Columns(), "user_id must be a text"),
        ({"properties": [1]}, Columns(), "properties must be a JSON object"),
        ({"x": float("nan")}, Columns(), "not JSON compliant"),
        ({"page": "\udcff"}, Columns(), "surrogates not allowed"),
    ],
)
def test_a_bad_record_says_what_is_wrong(record: dict[str, object], columns: Columns, complaint: str) -> None:
    with pytest.raises((ValueError, TypeError), match=complaint):
        made({**LINE, **record}, columns)


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'user' is no field"):
        Columns(renamed={"customer": "user"})
