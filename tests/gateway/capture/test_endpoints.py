"""The capture endpoints over HTTP: whoever holds a write key may send, in every form libraries use."""

import base64
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from tests.gateway.conftest import WRITE_KEY, Gateway, nested

NOW = datetime.now(UTC).isoformat()
TRACK = {"type": "track", "event": "seen", "userId": "ada", "messageId": "m-1", "timestamp": NOW}
CAPTURE = {"event": "seen", "distinct_id": "ada", "uuid": "m-1", "timestamp": NOW}
BASIC = "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()


def stored(gateway: Gateway, **query: object) -> list[pb.Event]:
    request = pb.QueryEventsRequest(page_size=1000, **query)  # type: ignore[arg-type]
    return list(gateway.service.events.QueryEvents(request).events)


def send(gateway: Gateway, path: str, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with gateway.client(None) as client:
        return client.post(path, content=content, headers=headers)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "group"])
def test_each_path_of_segment_stores_its_kind(shared_gateway: Gateway, kind: str, slash: str) -> None:
    user = f"{kind}{slash}"
    message = {**TRACK, "userId": user, "type": "other"}
    answer = send(shared_gateway, f"/v1/{kind}{slash}", message, authorization=BASIC)
    assert answer.json() == {"success": True}
    (event,) = stored(shared_gateway, user_id=user)
    assert event.event == ("seen" if kind == "track" else kind)


def test_a_batch_sent_again_stores_nothing(gateway: Gateway) -> None:
    batch = [{**TRACK, "messageId": f"m-{number}"} for number in range(10)]
    for sent_at in ("2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z"):
        body = {"batch": batch, "sentAt": sent_at, "writeKey": WRITE_KEY}
        assert send(gateway, "/v1/batch", body).json() == {"success": True}
    assert len(stored(gateway)) == 10
    scraped = httpx.get(gateway.metrics_url).text
    assert 'gateway_captured_events_total{outcome="duplicate",source="web"} 10.0' in scraped


def test_a_bad_message_does_not_spoil_its_batch(gateway: Gateway) -> None:
    far = "2999-01-01T00:00:00Z"
    batch = [TRACK, 7, {"type": "track"}, {**TRACK, "timestamp": far}, {**TRACK, "messageId": "m-2"}]
    answer = send(gateway, "/v1/batch", {"batch": batch}, authorization=BASIC)
    assert answer.status_code == 200
    assert [(one["index"], one["field"]) for one in answer.json()["rejections"]] == [
        (1, ""), (2, ""), (3, "event_time"),
    ]  # fmt: skip
    assert sorted(event.event_id for event in stored(gateway)) == ["m-1", "m-2"]
    scraped = httpx.get(gateway.metrics_url).text
    assert 'gateway_captured_events_total{outcome="rejected",source="web"} 3.0' in scraped


@pytest.mark.parametrize(
    ("path", "message"), [("/v1/batch", {**TRACK, "writeKey": WRITE_KEY}), ("/batch/", CAPTURE)]
)
@pytest.mark.parametrize("levels", [200, 900])
def test_a_deeply_nested_message_does_not_spoil_its_batch(
    gateway: Gateway, path: str, message: dict[str, object], levels: int
) -> None:
    batch = [message, {**message, "properties": nested(levels)}]
    body = {"batch": batch, "api_key": WRITE_KEY, "writeKey": WRITE_KEY}
    (refused,) = send(gateway, path, body).json()["rejections"]
    assert refused["index"] == 1
    assert "nested" in refused["reason"]
    assert [event.event_id for event in stored(gateway)] == ["m-1"]


def test_one_message_alone_is_refused_with_its_reason(shared_gateway: Gateway) -> None:
    answer = send(shared_gateway, "/v1/track", {"event": "e"}, authorization=BASIC)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "userId or anonymousId is required"
    answer = send(shared_gateway, "/capture/", {"event": "e", "api_key": WRITE_KEY})
    assert answer.json()["error"]["message"] == "distinct_id is required"


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/batch/", "/i/v0/e/", "/capture/"])
@pytest.mark.parametrize("key", [None, "", "wrong", 7])
def test_an_unknown_write_key_is_refused(shared_gateway: Gateway, path: str, key: object) -> None:
    body = {"batch": [], "writeKey": key, "api_key": key, "token": key}
    for headers in ({}, {"authorization": "Basic !"}, {"authorization": "Bearer " + WRITE_KEY}):
        answer = send(shared_gateway, path, body, **headers)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "WRITE_KEY_UNKNOWN")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/batch/", {"api_key": WRITE_KEY, "batch": [CAPTURE]}),
        ("/capture/", {"api_key": WRITE_KEY, **CAPTURE}),
        ("/i/v0/e/", {"token": WRITE_KEY, **CAPTURE}),
        ("/e/?compression=gzip-js", [{**CAPTURE, "properties": {"token": WRITE_KEY}}]),
    ],
)
@pytest.mark.parametrize("form", ["plain", "gzip", "silent gzip", "base64"])
def test_every_form_of_posthog_is_read(gateway: Gateway, path: str, body: object, form: str) -> None:
    content = json.dumps(body).encode()
    headers = {"content-encoding": "gzip"} if form == "gzip" else {"content-type": "text/plain"}
    if "gzip" in form:
        content = gzip.compress(content)
    if form == "base64":
        content = b"data=" + base64.b64encode(content).replace(b"+", b"%2B")
    assert send(gateway, path, content, **headers).json() == {"status": 1}
    assert [event.event_id for event in stored(gateway)] == ["m-1"]


@pytest.mark.parametrize("header", ["sec-gpc", "dnt"])
def test_who_asks_not_to_be_tracked_is_not(gateway: Gateway, header: str) -> None:
    for path, body in (("/v1/batch", {"batch": [TRACK]}), ("/capture", {**CAPTURE, "api_key": WRITE_KEY})):
        answer = send(gateway, path, body, authorization=BASIC, **{header: "1"})
        assert answer.status_code == 200
    assert stored(gateway) == []
    scraped = httpx.get(gateway.metrics_url).text
    assert 'gateway_captured_events_total{outcome="dropped",source="web"} 2.0' in scraped


def test_the_policy_may_be_to_ignore_the_signals(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(privacy_signals="ignore")
    send(gateway, "/v1/track", TRACK, authorization=BASIC, dnt="1")
    assert len(stored(gateway)) == 1


def test_identify_and_alias_join_the_anonymous_history(gateway: Gateway) -> None:
    seen = {"type": "track", "event": "seen", "anonymousId": "browser", "messageId": "1", "timestamp": NOW}
    joined = {
        "type": "identify",
        "userId": "ada",
        "anonymousId": "browser",
        "messageId": "2",
        "timestamp": NOW,
    }
    send(gateway, "/v1/batch", {"batch": [seen, joined]}, authorization=BASIC)
    (event,) = stored(gateway, user_id="ada", anonymous_id="browser", events=["identify"])
    assert (event.user_id, event.anonymous_id) == ("ada", "browser")


def test_pages_of_any_site_may_send(shared_gateway: Gateway) -> None:
    asks = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    with shared_gateway.client(None) as client:
        for path in ("/v1/track", "/i/v0/e/", "/batch/"):
            assert client.options(path, headers=asks).headers["access-control-allow-origin"] == "*"
            assert client.options(path).status_code == 405
        refused = client.post("/v1/track", json={}, headers={"origin": "https://shop.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"data=%%%", 400),
        (b"7", 401),
        (b"[]", 401),
        (b"null", 401),
        (json.dumps({"batch": 7, "api_key": WRITE_KEY}).encode(), 400),
        (b"x" * (5 << 20), 413),
    ],
)
def test_bad_bodies_are_told(shared_gateway: Gateway, body: bytes, code: int) -> None:
    for path in ("/batch/", "/i/v0/e/"):
        assert send(shared_gateway, path, body).status_code == code


def test_a_large_body_is_passed_on_in_parts(gateway: Gateway) -> None:
    batch = [{**TRACK, "messageId": str(number)} for number in range(4_500)]
    wide = [{**TRACK, "messageId": f"w{number}", "properties": {"t": "x" * 60_000}} for number in range(60)]
    for messages in (batch, wide):
        assert send(gateway, "/v1/batch", {"batch": messages}, authorization=BASIC).json() == {
            "success": True
        }
    ever = TimeRange(start_time=Timestamp(seconds=0), end_time=Timestamp(seconds=4_000_000_000))
    counted = gateway.service.events.GetTopEvents(pb.GetTopEventsRequest(time_range=ever))
    assert counted.total_events == 4_560


def test_markup_in_names_stays_text(shared_gateway: Gateway) -> None:
    name = "<script>alert(1)</script>"
    message = {**TRACK, "event": name, "userId": "script", "properties": {name: name}}
    send(shared_gateway, "/v1/track", message, authorization=BASIC)
    with shared_gateway.client() as client:
        answer = client.get("/api/analytics/events", params={"userId": "script"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["events"][0]["event"] == name
