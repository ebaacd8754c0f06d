"""PostHog's messages become events: whose a distinct_id is, and when something was."""

from datetime import UTC, datetime

import orjson
import pytest

from gateway.capture import posthog
from gateway.capture.received import Received

RECEIVED = Received(datetime(2024, 5, 1, tzinfo=UTC), bytes(32))


@pytest.mark.parametrize(
    ("message", "user", "anonymous"),
    [
        ({"distinct_id": "ada"}, "ada", ""),
        ({"properties": {"distinct_id": "ada"}}, "ada", ""),
        ({"distinct_id": 7}, "7", ""),
        ({"distinct_id": "dev", "properties": {"$device_id": "dev"}}, "", "dev"),
        ({"distinct_id": "dev", "properties": {"$is_identified": False}}, "", "dev"),
        ({"distinct_id": "dev", "properties": {"$process_person_profile": False}}, "", "dev"),
        ({"distinct_id": "ada", "properties": {"$device_id": "dev", "$user_id": "ada"}}, "ada", ""),
        (
            {"event": "$identify", "distinct_id": "ada", "properties": {"$anon_distinct_id": "dev"}},
            "ada",
            "dev",
        ),
        ({"event": "$create_alias", "distinct_id": "dev", "properties": {"alias": "ada"}}, "ada", "dev"),
    ],
)
def test_whose_a_distinct_id_is(message: dict[str, object], user: str, anonymous: str) -> None:
    event = posthog.event_of({"event": "e", **message}, RECEIVED)  # type: ignore[dict-item]
    assert (event.user_id, event.anonymous_id) == (user, anonymous)


def test_an_event_keeps_its_name_and_what_is_no_id_or_address() -> None:
    event = posthog.event_of(
        {
            "event": "$pageview",
            "distinct_id": "ada",
            "uuid": "018f3a5c-8a00-7abc-8abc-0123456789ab",
            "timestamp": "2024-04-30T12:00:00+00:00",
            "$set": {"plan": "pro"},
            "properties": {
                "$ip": "192.0.2.1",
                "token": "secret",
                "$session_id": "s-1",
                "$current_url": "https://shop/p",
                "$pathname": "/p",
                "$referrer": "$direct",
                "$raw_user_agent": "tests",
                "revenue": 3,
                "colour": "red",
            },
        },
        RECEIVED,
    )
    assert (event.event, event.session_id, event.page) == ("$pageview", "s-1", "/p")
    assert (event.referrer, event.user_agent) == ("$direct", "tests")
    assert (event.value, event.category) == (3, "revenue")
    assert orjson.loads(event.properties_json) == {
        "$current_url": "https://shop/p",
        "revenue": 3,
        "colour": "red",
        "$set": {"plan": "pro"},
    }


def test_a_version_7_uuid_tells_when() -> None:
    # The example of RFC 9562, appendix A.6: 2022-02-22 14:22:22.00 GMT-5.
    made = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    assert posthog.time_of("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == made
    assert posthog.time_of("017f22e2-79b0-4cc3-98c4-dc0c0c07398f") is None
    assert posthog.time_of("") is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"timestamp": "2024-04-30T12:00:00Z"}, "2024-04-30T12:00:00Z"),
        ({"uuid": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "offset": 17}, "2022-02-22T19:22:22Z"),
        ({"offset": 17}, "2024-05-01T00:00:00Z"),
    ],
)
def test_the_time_does_not_change_from_attempt_to_attempt(message: dict[str, object], expected: str) -> None:
    event = posthog.event_of({"event": "e", "distinct_id": "a", **message}, RECEIVED)  # type: ignore[dict-item]
    assert event.event_time.ToJsonString() == expected


@pytest.mark.parametrize("message", [{"event": "e"}, {"distinct_id": "ada"}, {"event": "$create_alias"}])
def test_a_message_without_who_or_what_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is required"):
        posthog.event_of(message, RECEIVED)  # type: ignore[arg-type]


def test_the_key_is_found_where_libraries_put_it() -> None:
    assert posthog.key_of({"api_key": "k"}) == "k"
    assert posthog.key_of({"token": "k"}) == "k"
    assert posthog.key_of({"properties": {"token": "k"}}) == "k"
    assert posthog.key_of({"api_key": 7}) == ""
