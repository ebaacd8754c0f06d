import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from brain_client.event import make_event, timestamp


def test_all_fields_arrive_as_given() -> None:
    moment = datetime(2011, 12, 9, 12, 50, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    made = make_event(
        "bought",
        session_id="s",
        user_id="u",
        anonymous_id="a",
        category="revenue",
        value=-1.5,
        properties={"country": "Österreich", "quantity": 2},
        page="/p",
        referrer="r",
        user_agent="x",
        event_time=moment,
        event_id="e",
    )
    assert (made.event, made.session_id, made.user_id, made.anonymous_id) == ("bought", "s", "u", "a")
    assert (made.category, made.value, made.page, made.referrer) == ("revenue", -1.5, "/p", "r")
    assert (made.user_agent, made.event_id) == ("x", "e")
    assert json.loads(made.properties_json) == {"country": "Österreich", "quantity": 2}
    assert made.event_time.ToDatetime(UTC) == moment


def test_properties_in_any_language_take_no_more_bytes_than_they_have() -> None:
    text = "日" * 21_000
    assert make_event("e", session_id="s", properties={"x": text}).properties_json == f'{{"x":"{text}"}}'


def test_an_absent_value_stays_absent_and_zero_does_not() -> None:
    assert not make_event("e", session_id="s").HasField("value")
    assert make_event("e", session_id="s", value=0.0).HasField("value")


@pytest.mark.parametrize("year", [1, 1969, 1970, 2000, 9999])
def test_microseconds_survive_in_every_year(year: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    made = timestamp(moment)
    assert (
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=made.seconds, microseconds=made.nanos // 1_000)
        == moment
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"event": ""}, "event is required"),
        ({"session_id": ""}, "session_id is required"),
        ({"event": "e" * 201}, "event is longer than 200"),
        ({"user_id": "u" * 201}, "user_id is longer than 200"),
        ({"page": "p" * 2_001}, "page is longer than 2,000"),
        ({"category": "c" * 101}, "category is longer than 100"),
        ({"value": float("nan")}, "value must be within"),
        ({"value": 1.1e12}, "value must be within"),
        ({"properties": {"x": "y" * 65_536}}, "properties_json is longer than 65,536 bytes"),
        ({"properties": {"x": "ü" * 33_000}}, "properties_json is longer than 65,536 bytes"),
        ({"properties": {"x": "\ud800"}}, "surrogates not allowed"),
        ({"properties": {"x": float("inf")}}, "Out of range float"),
        ({"event_time": datetime(2026, 1, 1)}, "has no offset"),  # noqa: DTZ001 — the mistake under test
        ({"event_id": "e"}, "event_id needs event_time"),
    ],
)
def test_a_mistake_is_an_error_at_the_call(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_event(**{"event": "e", "session_id": "s", **fields})  # type: ignore[arg-type]  # mistakes


def test_properties_that_are_not_json_are_an_error_at_the_call() -> None:
    with pytest.raises(TypeError):
        make_event("e", session_id="s", properties={"x": object()})
