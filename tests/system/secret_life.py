"""What a suite lives through: work, rubbish, strangers. Each function returns what callers were answered."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
from brain.alerts.v1 import alert_pb2, alerts_pb2, definition_pb2
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1.common_pb2 import INTERVAL_HOUR
from brain.events.v1.events_pb2 import USER_KIND_USER, Event, TrackEventsRequest, UserReference
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.privacy.v1.privacy_pb2 import ERASURE_MODE_ERASE, EraseUserRequest
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from gateway.dashboard.page.frame import PREFIX
from shared.clients import channel
from shared.timestamps import from_micros
from tests.access import full_name
from tests.faults.servers import plain_channel
from tests.gateway.dashboard.serving import proof_of, sign_in
from tests.system import every_rpc
from tests.system.launcher import eventually
from tests.system.planted import planted
from tests.system.secret_suite import (
    ANONYMOUS,
    EMAIL,
    PHONE,
    RUBBISH,
    SERVICES,
    USER,
    VALUE,
    WRONG_TOKEN,
    SecretSuite,
)

WEBHOOK, SLACK = definition_pb2.CHANNEL_KIND_WEBHOOK, definition_pb2.CHANNEL_KIND_SLACK
ALERTMANAGER = definition_pb2.CHANNEL_KIND_ALERTMANAGER
EMAILED, TEXTED = definition_pb2.CHANNEL_KIND_EMAIL, definition_pb2.CHANNEL_KIND_SMS
TABS = ("events", "experiments", "funnels", "predictions", "retention", "alerts?key=told")
BROKEN_JSON = b'{"userId": "' + USER.encode() + b'\xff\xfe", "properties": {"card": "' + VALUE.encode()
SENDERS = 8
EVENT_MICROS = 1_735_689_600_000_000


def opened(suite: SecretSuite, service: str, token: str | None) -> grpc.Channel:
    """Open a channel with one of the suite's tokens, or another one."""
    return channel(suite.address(service), suite.tokens.get(token or "", token))


def track(suite: SecretSuite) -> bytes:
    """Store what somebody did, and have refused what PostgreSQL would not take."""
    properties = {"email": EMAIL, "card": VALUE}
    some = [json.dumps(properties | more) for more in ({}, {"text": "\0"}, {"number": 1}, {"\ud800": 1})]
    some += [some[2].replace("1}", "1e200000}"), some[0][:-1]]
    events = [
        Event(
            event_id=f"event {number}",
            event_time=from_micros(EVENT_MICROS),
            user_id=USER,
            anonymous_id=ANONYMOUS,
            session_id="s",
            event="paid",
            page=f"https://shop.example/pay?card={VALUE}",
            properties_json=each,
        )
        for number, each in enumerate(some)
    ]
    events.append(Event(user_id=USER + "\0", session_id=VALUE, event="paid", value=float("inf")))
    with opened(suite, "events", "ingest") as calls:
        reply = EventsServiceStub(calls).TrackEvents(TrackEventsRequest(events=events))
    assert reply.accepted
    return bytes(reply.SerializeToString())


def capture(suite: SecretSuite) -> bytes:
    """Send what browsers send: with the write key, with another one, broken."""
    body = {"userId": USER, "anonymousId": ANONYMOUS, "event": "captured", "properties": {"email": EMAIL}}
    url = f"{suite.launcher.gateway_url}/v1/track"
    with httpx.Client(timeout=20) as sender:
        taken = sender.post(url, json=body, auth=(planted("write key"), ""))
        assert taken.json() == {"success": True}
        refused = [
            sender.post(url, json=body, auth=(WRONG_TOKEN, "")),
            sender.post(url, content=BROKEN_JSON, headers={"content-type": "application/json"}),
            sender.post(
                url, json=body | {"timestamp": VALUE, "context": VALUE}, auth=(planted("write key"), "")
            ),
        ]
    return b"".join(each.content for each in refused)


def recipients(suite: SecretSuite) -> dict["definition_pb2.ChannelKind.ValueType", list[str]]:
    """Return who is told of an alert: receivers that take it, refuse it, are away, or speak no TLS."""
    return {
        WEBHOOK: [
            *map(suite.url, (f"taken/{planted('path 1')}?key={planted('query 1')}",)),
            *map(suite.url, (f"refused/{planted('path 2')}?key={planted('query 2')}",)),
            f"http://127.0.0.1:1/{planted('path 3')}?key={planted('query 3')}",
            suite.url(f"{planted('path 4')}?key={planted('query 4')}").replace("http:", "https:"),
        ],
        SLACK: [suite.url(f"slack/{planted('path 5')}")],
        ALERTMANAGER: [suite.url(planted("path 6"))],
        EMAILED: [f"{planted('recipient')}@example.com"],
        TEXTED: [PHONE],
    }


def tell(suite: SecretSuite) -> bytes:
    """Have an alert told to everybody, tried out too; return what an administrator is answered."""
    told = recipients(suite)
    definition = definition_pb2.AlertDefinition(
        name="Silence",
        metric=definition_pb2.MetricReference(
            source="events", name="event_count", labels={"event": "viewed"}, interval=INTERVAL_HOUR
        ),
        condition=definition_pb2.ALERT_CONDITION_LESS_THAN,
        threshold=1,
        channels=[definition_pb2.Channel(kind=kind, recipients=urls) for kind, urls in told.items()],
    )
    with opened(suite, "alerts", "admin") as calls:
        stub = AlertsServiceStub(calls)
        stub.CreateAlert(alerts_pb2.CreateAlertRequest(alert_id="told", definition=definition))
        tried = [stub.TestAlert(alerts_pb2.TestAlertRequest(alert_id="told")) for _ in range(2)]

        def deliveries() -> list[alert_pb2.Delivery]:
            return list(stub.ListDeliveries(alerts_pb2.ListDeliveriesRequest(alert_id="told")).deliveries)

        def all_attempted() -> bool:
            found = deliveries()
            return len(found) == sum(map(len, told.values())) and all(each.attempts for each in found)

        eventually(all_attempted, lambda: str(deliveries()))
    return b"".join(each.answer.encode() for reply in tried for each in reply.results)


def look(suite: SecretSuite) -> Iterator[bytes]:
    """Return all that somebody is shown who may look and not change."""
    origin = suite.launcher.gateway_url
    with httpx.Client(base_url=origin, timeout=30) as visitor:
        assert sign_in(visitor, suite.tokens["viewer"]).status_code == 303
        for tab in TABS:
            page = visitor.get(f"{PREFIX}/{tab}")
            assert page.status_code == 200, tab
            yield page.content
        suite.secrets.add("proof of a form", proof_of(page.text))
        for name, cookie in visitor.cookies.items():
            suite.secrets.add(f"cookie {name}", cookie)
    with httpx.Client(base_url=origin, timeout=30) as program:
        program.headers["authorization"] = f"Bearer {suite.tokens['viewer']}"
        paths = program.get("/api/analytics/openapi.json").json()["paths"]
        for path in (each for each, methods in paths.items() if "get" in methods):
            yield program.get(path).content
    with opened(suite, "alerts", "viewer") as calls:
        stub = AlertsServiceStub(calls)
        yield stub.ListDeliveries(alerts_pb2.ListDeliveriesRequest()).SerializeToString()
        yield stub.ListAlerts(alerts_pb2.ListAlertsRequest()).SerializeToString()


def send_rubbish(suite: SecretSuite) -> Iterator[bytes]:
    """Ask every RPC for nothing that there is, and as nobody who may."""
    for service in SERVICES:
        with plain_channel(suite.address(service)) as calls:
            yield from every_rpc.outcomes(calls, service, RUBBISH, suite.tokens["admin"])
            method = full_name(every_rpc.of_service(service)[0])
            for token in (WRONG_TOKEN, *(suite.tokens[each] for each in ("expired", "ingest", "viewer"))):
                yield every_rpc.outcome(calls, method, token, b"")


def send_rubbish_over_http(suite: SecretSuite, maximum: int | None = None) -> Iterator[bytes]:
    """Ask the addresses of the gateway with a text in every place, and as nobody who may."""
    with httpx.Client(base_url=suite.launcher.gateway_url, timeout=30) as program:
        paths = program.get("/api/analytics/openapi.json").json()["paths"]
        wanted = [(path, method) for path, methods in paths.items() for method in methods][:maximum]
        requests = [
            program.build_request(
                method,
                f"{path.replace('{', RUBBISH).replace('}', '')}?userId={RUBBISH}&pageToken={RUBBISH}",
                headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
                content=content,
            )
            for path, method in wanted
            for token, content in (
                (WRONG_TOKEN, BROKEN_JSON),
                (suite.tokens["admin"], BROKEN_JSON),
                (suite.tokens["admin"], json.dumps({RUBBISH: RUBBISH}).encode()),
            )
        ]
        with ThreadPoolExecutor(SENDERS) as senders:
            replies = senders.map(program.send, requests)
            yield from (each.content for each in replies if each.is_error)  # others may show anything


def knock(suite: SecretSuite) -> Iterator[bytes]:
    """Come to the dashboard as nobody who may."""
    with httpx.Client(base_url=suite.launcher.gateway_url, timeout=30) as program:
        yield sign_in(program, WRONG_TOKEN).content
        yield sign_in(program, suite.tokens["viewer"], proof=RUBBISH).content
        program.cookies.set("brain_session", planted("forged cookie"))
        yield program.get(f"{PREFIX}/user?id={USER}").content
        yield program.get(f"{PREFIX}/{RUBBISH}?{RUBBISH}").content


def erase(suite: SecretSuite) -> None:
    """Have every service forget who paid."""
    request = EraseUserRequest(user=UserReference(kind=USER_KIND_USER, id=USER), mode=ERASURE_MODE_ERASE)
    for service in SERVICES:
        with opened(suite, service, "admin") as calls:
            PrivacyServiceStub(calls).EraseUser(request)
