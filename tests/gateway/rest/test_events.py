"""Events over REST: what is posted is there, counted and ranked, and what is wrong is told by field."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from shared.auth import Role
from tests.gateway.conftest import Gateway, nested

EVENTS = "/api/analytics/events"
NOW = datetime.now(UTC).replace(microsecond=0)


def post(client: httpx.Client, **event: object) -> httpx.Response:
    return client.post(EVENTS, json={"sessionId": "s", "event": "seen", **event})


def stored(gateway: Gateway, user_id: str) -> list[dict[str, object]]:
    with gateway.client() as client:
        answer = client.get(EVENTS, params={"userId": user_id})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["events"]
    return found


def test_a_posted_event_is_listed_as_it_was(gateway: Gateway) -> None:
    event = {
        "eventId": "e-1",
        "userId": "ada",
        "anonymousId": "browser",
        "sessionId": "s-1",
        "event": "<b>bought</b>",
        "category": "revenue",
        "eventTime": "2024-02-29T12:00:00.250000Z",
        "value": 9.75,
        "properties": {"colour": "red", "deep": {"list": [1, None, "x"]}},
        "page": "/cart",
        "referrer": "https://example.org",
        "userAgent": "tests",
    }
    with gateway.client(Role.INGEST) as client:
        answer = client.post(EVENTS, json=event)
        again = client.post(EVENTS, json=event)
    assert answer.status_code == again.status_code == 200
    assert answer.json()["eventId"] == "e-1"
    assert answer.json()["eventTime"] == "2024-02-29T12:00:00.250000Z"
    assert (answer.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    (listed,) = stored(gateway, "ada")
    assert listed.pop("receivedTime")
    assert listed == event


def test_who_asks_fills_a_missing_user_and_the_header_a_missing_session(gateway: Gateway) -> None:
    with gateway.client(Role.INGEST, **{"X-Session-Id": "from-header"}) as client:
        assert client.post(EVENTS, json={"event": "seen"}).status_code == 200
    (event,) = stored(gateway, "the-ingest")
    assert event["sessionId"] == "from-header"
    with gateway.client(Role.ADMIN) as client:
        post(client)
        own = client.get(EVENTS).json()["events"]
    assert [each["userId"] for each in own] == ["the-admin"]


def test_an_anonymous_event_stays_anonymous(gateway: Gateway) -> None:
    with gateway.client() as client:
        assert post(client, anonymousId="browser").status_code == 200
        assert client.get(EVENTS).json()["events"] == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"event": "seen"}, {"sessionId"}),
        ({"sessionId": "s"}, {"event"}),
        ({"sessionId": "s", "event": "e" * 201, "category": "c" * 101}, {"event", "category"}),
        ({"sessionId": 7, "event": True, "colour": "red"}, {"sessionId", "event", "colour"}),
        ({"sessionId": "s", "event": "e", "value": "much"}, {"value"}),
        ({"sessionId": "s", "event": "e", "properties": [1]}, {"properties"}),
        ({"sessionId": "s", "event": "e", "eventTime": "yesterday"}, {"eventTime"}),
        ({"sessionId": "s", "event": "e", "eventTime": "2024-01-01T00:00:00"}, {"eventTime"}),
        ({"sessionId": "s", "event": "e", "eventTime": "0001-01-01T00:00:00+14:00"}, {"eventTime"}),
        ({"sessionId": "s", "event": "e", "eventId": "x"}, {"eventTime"}),
        ({"sessionId": "s", "event": "nul\0"}, {"event"}),
        ({"sessionId": "s", "event": "e", "value": 1e13}, {"value"}),
        ({"sessionId": "s", "event": "e", "eventTime": "1999-01-01T00:00:00Z"}, {"eventTime"}),
        ({"sessionId": "s", "event": "e", "receivedTime": "2024-01-01T00:00:00Z"}, {"receivedTime"}),
        ({"sessionId": "s", "event": "e", "properties": nested(200)}, {"properties"}),
        ({"sessionId": "s", "event": "e", "properties": nested(900)}, {"properties"}),
    ],
)
def test_a_bad_event_is_refused_by_field(
    shared_gateway: Gateway, body: dict[str, object], fields: set[str]
) -> None:
    with shared_gateway.client() as client:
        answer = client.post(EVENTS, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert {each["field"] for each in error["fields"]} == fields
    assert error["requestId"] == answer.headers["x-request-id"]


def test_counts_follow_what_was_posted(gateway: Gateway) -> None:
    with gateway.client() as client:
        for hours, user in ((1, "a"), (1, "b"), (2, "a"), (26, "c")):
            moment = (NOW - timedelta(hours=hours)).isoformat()
            assert post(client, userId=user, eventId=f"{hours}{user}", eventTime=moment, value=2).is_success
        total = client.get(EVENTS, params={"action": "counts"}).json()["counts"]
        users = client.get(EVENTS, params={"action": "counts", "groupBy": "userId"}).json()["counts"]
        hours = client.get(
            EVENTS,
            params={
                "action": "counts",
                "groupBy": "hour",
                "startTime": (NOW - timedelta(hours=3)).isoformat(),
                "endTime": NOW.isoformat(),
            },
        ).json()
    assert [(one["events"], one["users"], one["valueSum"]) for one in total] == [(4, 3, 8.0)]
    assert {one["user"]["id"]: one["events"] for one in users} == {"a": 2, "b": 1, "c": 1}
    assert {one["user"]["kind"] for one in users} == {"user"}
    assert sum(one["events"] for one in hours["counts"]) == 3
    assert len(hours["counts"]) in (3, 4)
    assert hours["timeZone"] == "UTC"


def test_pages_of_groups_and_of_events_go_on(gateway: Gateway) -> None:
    with gateway.client() as client:
        for number in range(5):
            moment = (NOW - timedelta(minutes=number)).isoformat()
            post(client, userId="ada", event=f"e{number}", eventId=str(number), eventTime=moment)
        for query, key in (
            ({"userId": "ada"}, "events"),
            ({"action": "counts", "groupBy": "event"}, "counts"),
        ):
            seen, token = [], None
            while token != "":
                page = client.get(
                    EVENTS,
                    params={
                        **query,
                        "limit": 2,
                        "startTime": (NOW - timedelta(days=1)).isoformat(),
                        "endTime": NOW.isoformat(),
                        **({"pageToken": token} if token else {}),
                    },
                ).json()
                seen += page[key]
                token = page.get("nextPageToken", "")
            assert len(seen) == 4, "the newest is at the range's end, which is outside"


def test_the_most_frequent_events_come_first(gateway: Gateway) -> None:
    with gateway.client() as client:
        for number in range(6):
            post(client, userId=f"u{number % 2}", event="often" if number else "once")
        top = client.get(EVENTS, params={"action": "top", "limit": 1}).json()
    assert top["totalEvents"] == 6
    (first,) = top["topEvents"]
    assert first == {"event": "often", "events": 5, "shareRatio": 5 / 6, "users": 2, "valueSum": 0.0}


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"action": "guess"}, {"action"}),
        ({"action": ""}, set()),
        ({"limit": "0"}, {"limit"}),
        ({"limit": "1001", "colour": "red"}, {"limit", "colour"}),
        ({"limit": "-1"}, {"limit"}),
        ({"limit": "9" * 5000}, {"limit"}),
        ({"userId": ""}, {"userId"}),
        ({"userId": "u" * 201}, {"userId"}),
        ({"pageToken": "forged"}, {"pageToken"}),
        ({"action": "counts", "groupBy": "mood"}, {"groupBy"}),
        ({"action": "counts", "timeZone": "Mars/Olympus"}, {"timeZone"}),
        ({"action": "counts", "startTime": "2024-01-01"}, {"startTime"}),
        ({"action": "counts", "endTime": "0001-01-01T00:00:00Z"}, {"endTime"}),
        (
            {"action": "top", "startTime": "2024-01-02T00:00:00Z", "endTime": "2024-01-01T00:00:00Z"},
            {"endTime"},
        ),
        ({"action": "top", "userId": "ada"}, {"userId"}),
        ({"event": "nul\0"}, {"event"}),
    ],
)
def test_a_bad_query_is_refused_by_parameter(
    shared_gateway: Gateway, query: dict[str, str], fields: set[str]
) -> None:
    with shared_gateway.client() as client:
        answer = client.get(EVENTS, params=query)
    assert answer.status_code == (400 if fields else 200), answer.text
    if fields:
        assert {each["field"] for each in answer.json()["error"]["fields"]} == fields


def test_a_parameter_given_twice_is_refused(shared_gateway: Gateway) -> None:
    with shared_gateway.client() as client:
        answer = client.get(f"{EVENTS}?limit=1&limit=2")
        several = client.get(f"{EVENTS}?event=a&event=b")
    assert answer.json()["error"]["fields"] == [{"field": "limit", "reason": "is given more than once"}]
    assert several.status_code == 200
