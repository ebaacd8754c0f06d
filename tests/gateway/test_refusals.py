"""Who may ask what, and bad input of every kind: each is told with the right code, and harms nothing."""

import gzip
import json
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from shared.auth import Role, mint_token
from tests.gateway.conftest import WRITE_KEY, Gateway

EVENTS = "/api/analytics/events"
EVENT = {"sessionId": "s", "event": "seen"}


@pytest.mark.parametrize(
    ("role", "method", "code"),
    [
        (None, "GET", 401),
        (None, "POST", 401),
        (Role.INGEST, "GET", 403),
        (Role.ANALYST, "POST", 403),
        (Role.ANALYST, "GET", 200),
        (Role.ADMIN, "POST", 200),
    ],
)
def test_roles_hold_as_for_the_calls(
    shared_gateway: Gateway, role: Role | None, method: str, code: int
) -> None:
    with shared_gateway.client(role) as client:
        answer = client.request(method, EVENTS, json=EVENT if method == "POST" else None)
    assert answer.status_code == code
    if code == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["reason"] == "TOKEN_MISSING"
    if code == 403:
        assert answer.json()["error"]["reason"] == "ROLE_MISSING"


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [("Basic abc", "TOKEN_INVALID"), ("Bearer nonsense", "TOKEN_INVALID"), ("Bearer", "TOKEN_MISSING")],
)
def test_a_bad_token_is_refused(shared_gateway: Gateway, authorization: str, reason: str) -> None:
    with shared_gateway.client(None, authorization=authorization) as client:
        answer = client.get(EVENTS)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, reason)


def test_an_expired_token_is_refused(shared_gateway: Gateway, token_keys: tuple[bytes, bytes]) -> None:
    token = mint_token(token_keys[0], "late", [Role.ADMIN], 60, time.time() - 120)
    with shared_gateway.client(None, authorization=f"Bearer {token}") as client:
        assert client.get(EVENTS).json()["error"]["reason"] == "TOKEN_EXPIRED"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b'{"event": NaN}', "application/json", 400),
        (b'{"event": "\xff"}', "application/json", 400),
        (b'{"event": "\\ud800", "sessionId": "s"}', "application/json", 400),
        (b'{"properties":' + b'{"a":' * 2000 + b"1" + b"}" * 2001, "application/json", 400),
        (json.dumps({**EVENT, "properties": {"a": "x" * 70_000}}).encode(), "application/json", 400),
        (json.dumps(EVENT).encode(), "text/plain", 415),
        (json.dumps(EVENT).encode(), "application/x-www-form-urlencoded", 415),
        (b"x" * (4 << 20) + b"x", "application/json", 413),
        (b"\x1f\x8bbroken", "application/json", 400),
        (gzip.compress(json.dumps(EVENT).encode(), mtime=0)[:-6], "application/json", 400),
        (gzip.compress(b" " * (64 << 20), mtime=0), "application/json", 413),
        (json.dumps({**EVENT, "eventTime": "9999-12-31T23:59:59Z"}).encode(), "application/json", 400),
        (b'{"event": "e", "sessionId": "s", "value": 1e200000}', "application/json", 400),
        (b'{"event": "e", "sessionId": "s", "value": 1' + b"0" * 400 + b"}", "application/json", 400),
    ],
)
def test_bad_bodies_are_refused(shared_gateway: Gateway, body: bytes, kind: str, code: int) -> None:
    with shared_gateway.client() as client:
        answer = client.post(EVENTS, content=body, headers={"content-type": kind})
        assert answer.status_code == code, answer.text
        assert answer.json()["error"]["code"] == code
        assert client.post(EVENTS, json=EVENT).status_code == 200


def test_a_body_that_does_not_tell_its_size_is_bounded(shared_gateway: Gateway) -> None:
    with shared_gateway.client() as client:
        answer = client.post(
            EVENTS, content=(b" " * 65_536 for _ in range(65)), headers={"content-type": "application/json"}
        )
    assert answer.status_code == 413


def test_a_packed_body_is_unpacked(shared_gateway: Gateway) -> None:
    packed = gzip.compress(json.dumps(EVENT).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    with shared_gateway.client() as client:
        assert client.post(EVENTS, content=packed, headers=headers).status_code == 200
        answer = client.post(EVENTS, content=packed, headers={**headers, "content-encoding": "br"})
    assert answer.status_code == 415


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/nowhere", 404), ("DELETE", EVENTS, 405)])
def test_unknown_places_answer_in_json(shared_gateway: Gateway, method: str, path: str, code: int) -> None:
    with shared_gateway.client() as client:
        answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (code, code)


def test_a_page_of_another_site_may_neither_read_nor_post(shared_gateway: Gateway) -> None:
    asks = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    with shared_gateway.client() as client:
        before = client.options(EVENTS, headers=asks)
        read = client.get(EVENTS, headers={"origin": "https://evil.example"})
    assert before.status_code == 405
    assert "access-control-allow-origin" not in {*before.headers, *read.headers}


def test_a_sender_that_stops_in_the_middle_is_let_go(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(body_seconds=0.2)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    token = gateway.tokens[Role.ADMIN]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST {EVENTS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
            "content-type: application/json\r\ncontent-length: 100\r\n\r\n{".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_service_that_is_away_is_503_with_a_time_to_retry(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(call_seconds=0.3)
    gateway.service.application.stop()
    with gateway.client() as client:
        health = client.get("/healthz")
        answer = client.get(EVENTS)
    assert health.status_code == 503
    assert answer.status_code in (503, 504)
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1


def test_health_and_measures_tell_what_happens(gateway: Gateway) -> None:
    with gateway.client(None) as client:
        assert client.get("/healthz").json() == {"status": "serving"}
        client.get(EVENTS)
        client.get("/wp-login.php")
        client.post("/v1/track", json={"userId": "a", "event": "e", "writeKey": WRITE_KEY})
    scraped = httpx.get(gateway.metrics_url).text
    assert f'http_requests_total{{code="401",method="GET",route="{EVENTS}"}} 1.0' in scraped
    assert 'http_requests_total{code="404",method="GET",route="unmatched"} 1.0' in scraped
    assert 'gateway_captured_events_total{outcome="accepted",source="web"} 1.0' in scraped


def test_a_request_id_is_handed_back_and_made_where_missing(shared_gateway: Gateway) -> None:
    with shared_gateway.client() as client:
        given = client.get(EVENTS, headers={"x-request-id": "mine"})
        made = client.get(EVENTS, headers={"x-request-id": "x" * 200})
    assert given.headers["x-request-id"] == "mine"
    assert len(made.headers["x-request-id"]) == 32
