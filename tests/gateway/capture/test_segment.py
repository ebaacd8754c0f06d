"""Segment's messages become events: who, what, when, and what is left out."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from gateway.capture import segment
from gateway.capture.received import Received

RECEIVED = Received(datetime(2024, 5, 1, tzinfo=UTC), bytes(32))
MESSAGE: dict[str, Any] = {
    "userId": "ada",
    "anonymousId": "browser",
    "messageId": "m-1",
    "timestamp": "2024-04-30T12:00:00.123Z",
    "sentAt": "2024-04-30T12:00:05Z",
    "context": {
        "ip": "192.0.2.1",
        "userAgent": "tests",
        "locale": "de",
        "page": {"path": "/p", "url": "https://shop/p", "referrer": "https://r"},
        "traits": {"email": "ada@example.org"},
        "sessionId": 1_714_000_000,
    },
}


def test_a_track_keeps_who_what_and_when() -> None:
    message = {
        **MESSAGE,
        "event": "Order Completed",
        "properties": {"revenue": 12.5, "ip": "192.0.2.1", "n": 1},
    }
    event = segment.event_of(message, "track", RECEIVED)
    assert (event.event, event.user_id, event.anonymous_id) == ("Order Completed", "ada", "browser")
    assert (event.event_id, event.event_time.ToJsonString()) == ("m-1", "2024-04-30T12:00:00.123Z")
    assert (event.value, event.category) == (12.5, "revenue")
    assert (event.page, event.referrer, event.user_agent) == ("/p", "https://r", "tests")
    assert event.session_id == "1714000000"
    assert orjson.loads(event.properties_json) == {"revenue": 12.5, "n": 1, "context": {"locale": "de"}}


def test_no_address_of_the_network_and_no_traits_of_a_context_are_left() -> None:
    for kind in segment.KINDS:
        message = {**MESSAGE, "event": "e", "previousId": "old", "properties": {"ip": "192.0.2.1"}}
        told = segment.event_of(message, kind, RECEIVED).SerializeToString()
        assert b"192.0.2.1" not in told
        assert b"ada@example.org" not in told


@pytest.mark.parametrize(
    ("kind", "more", "name", "properties"),
    [
        ("identify", {"traits": {"plan": "pro"}}, "identify", {"plan": "pro"}),
        ("page", {"name": "Home", "properties": {"path": "/h"}}, "page", {"name": "Home", "path": "/h"}),
        ("screen", {"name": "Home", "category": "c"}, "screen", {"name": "Home", "category": "c"}),
        ("group", {"groupId": "g", "traits": {"size": 3}}, "group", {"groupId": "g", "size": 3}),
    ],
)
def test_other_kinds_are_events_of_their_own_name(
    kind: str, more: dict[str, object], name: str, properties: dict[str, object]
) -> None:
    message = {key: value for key, value in MESSAGE.items() if key != "context"} | more
    event = segment.event_of(message, kind, RECEIVED)
    assert event.event == name
    assert (event.user_id, event.anonymous_id) == ("ada", "browser")
    assert orjson.loads(event.properties_json) == properties


def test_an_alias_carries_both_ids() -> None:
    event = segment.event_of({"userId": "ada", "previousId": "browser"}, "alias", RECEIVED)
    assert (event.event, event.user_id, event.anonymous_id) == ("alias", "ada", "browser")


def test_an_open_session_is_named_alike_for_one_person_and_tells_no_id() -> None:
    def session(**ids: str) -> str:
        return segment.event_of({"event": "e", **ids}, "track", RECEIVED).session_id

    assert session(userId="ada") == session(userId="ada", anonymousId="browser")
    assert len({session(userId="ada"), session(anonymousId="ada"), session(userId="bob")}) == 3
    assert "ada" not in session(userId="ada")
    other_key = Received(RECEIVED.now, bytes(31) + b"1")
    otherwise = segment.event_of({"event": "e", "userId": "ada"}, "track", other_key)
    assert otherwise.session_id != session(userId="ada")


def test_a_message_without_a_time_gets_the_servers() -> None:
    event = segment.event_of({"event": "e", "userId": "ada", "messageId": "m"}, "track", RECEIVED)
    assert event.event_time.ToJsonString() == "2024-05-01T00:00:00Z"


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("2024-04-30T12:00:00", "2024-04-30T12:00:00Z"),
        ("2024-04-30T12:00:00.1234567+02:00", "2024-04-30T10:00:00.123456Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_read_to_the_microsecond(time: str, told: str) -> None:
    event = segment.event_of({"event": "e", "userId": "a", "timestamp": time}, "track", RECEIVED)
    assert event.event_time.ToJsonString() == told


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"event": "e"}, "userId or anonymousId is required"),
        ({"event": "e", "userId": None, "anonymousId": ""}, "userId or anonymousId is required"),
        ({"userId": "ada"}, "event is required"),
        ({"userId": "ada", "event": 7}, "event is required"),
        ({"userId": "ada", "event": "e", "timestamp": "soon"}, "timestamp must be"),
        ({"userId": "ada", "event": "e", "timestamp": 1714000000}, "timestamp must be"),
        ({"userId": "ada", "event": "e", "timestamp": ["x"]}, "timestamp must be"),
    ],
)
def test_a_bad_message_says_why(message: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        segment.event_of(message, "track", RECEIVED)  # type: ignore[arg-type]


@pytest.mark.parametrize("properties", [None, [], "text", {"revenue": "12"}, {"revenue": True}])
def test_an_amount_that_is_no_number_is_none(properties: object) -> None:
    message = {"userId": "ada", "event": "e", "properties": properties}
    event = segment.event_of(message, "track", RECEIVED)  # type: ignore[arg-type]
    assert not event.HasField("value")
    assert event.category == ""


@pytest.mark.parametrize("kind", [None, "", 7, "delete", []])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    with pytest.raises(ValueError, match="type must be one of track"):
        segment.kind_of({"type": kind})  # type: ignore[dict-item]
