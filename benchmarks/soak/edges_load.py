"""What comes from outside: browsers, captures, flags; who errs, who leaves, who looks around."""

import base64
import json
import re
import secrets
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from urllib.parse import urlencode

import grpc
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.experiments.v1.experiments_pb2 import AssignVariantRequest
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from brain.funnels.v1.funnels_pb2 import GetFunnelRequest
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub
from flagd.evaluation.v2.evaluation_pb2 import EventStreamRequest, ResolveAllRequest
from flagd.evaluation.v2.evaluation_pb2_grpc import ServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from benchmarks.soak.events_load import (
    ASKED,
    CAPTURED,
    KNOWN_PEOPLE,
    SINGLE,
    asked_days,
    asked_range,
    event,
    last_days,
)
from benchmarks.soak.suite import Suite
from shared import clients
from tests.faults.callers import EXPERIMENT

DASHBOARD = "/admin/analytics"
IDLE_STREAMS = 5
_PROOF = re.compile(r'name="proof" value="([^"]+)"')


class Browser:
    """Somebody signed in who looks at one page after the other, each on a connection of its own."""

    PAGES = ("events", "experiments", "funnels", "predictions", "retention", "alerts", "snapshots")

    def __init__(self, suite: Suite) -> None:
        self._address = suite.gateway_address
        self._cookies = _sign_in(suite)
        asked, days = asked_range(), asked_days()
        of_range = urlencode(
            {"startTime": asked.start_time.ToJsonString(), "endTime": asked.end_time.ToJsonString()}
        )
        of_days = urlencode(
            {"range": "custom", "from": days[0].isoformat(), "to": days[1].isoformat(), "zone": "UTC"}
        )
        self._paths = [
            *(f"{DASHBOARD}/{page}?{of_days}" for page in self.PAGES),
            f"{DASHBOARD}/events/trend.csv?range=7d",
            f"{DASHBOARD}/user?id=known+7",
            f"{DASHBOARD}/static/dashboard.css",
        ]
        self._calls = [
            f"/api/analytics/events?action=top&{of_range}",
            f"/api/analytics/events?action=counts&{of_range}",
            f"/api/analytics/events?userId=known+7&{of_range}",
            "/api/analytics/metrics?action=active_users",
            "/api/analytics/ab-tests",
            f"/api/analytics/ab-tests?action=results&experimentKey={EXPERIMENT}",
            "/api/analytics/funnels",
            "/api/analytics/alerts",
            "/api/analytics/openapi.json",
        ]
        self._bearer = {"authorization": f"Bearer {suite.token}"}

    def look(self, number: int) -> None:
        """Fetch a page."""
        path = self._paths[number % len(self._paths)]
        _expect(self._address, "GET", path, 200, {"cookie": self._cookies})

    def ask(self, number: int) -> None:
        """Ask over REST."""
        path = self._calls[number % len(self._calls)]
        _expect(self._address, "GET", path, 200, self._bearer)


class Capture:
    """A website that sends what its visitors do."""

    BATCH = 10

    def __init__(self, suite: Suite) -> None:
        self.acknowledged: Counter[str] = Counter()
        self._address = suite.gateway_address
        self._authorization = {"authorization": f"Basic {_encoded(suite.write_key)}"}

    def round(self, number: int) -> None:
        """Send a batch."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        messages = [
            {
                "type": "track",
                "event": CAPTURED,
                "userId": f"known {(number + each) % KNOWN_PEOPLE}",
                "messageId": str(uuid.uuid4()),
                "timestamp": now,
                "properties": {"plan": "free"},
            }
            for each in range(self.BATCH)
        ]
        body = json.dumps({"batch": messages})
        _expect(self._address, "POST", "/v1/batch", 200, self._authorization, body)
        self.acknowledged[CAPTURED] += len(messages)


class Flags:
    """A provider of flags: streams that wait, and are dropped, beside questions for everybody's flags."""

    PEOPLE = 4  # a round, all new

    def __init__(self, suite: Suite) -> None:
        self.resolved = 0
        self._address = suite.flags_address
        self._channel = grpc.insecure_channel(self._address)

    def round(self, number: int) -> None:
        """Open streams on a connection of their own, leave them, and resolve."""
        with clients.channel(self._address, None) as channel:
            streams = [
                ServiceStub(channel).EventStream(EventStreamRequest(), timeout=60)
                for _ in range(IDLE_STREAMS)
            ]
            for stream in streams:
                next(stream)
            for stream in streams[::2]:
                stream.cancel()  # the others end with their connection
        for person in range(self.PEOPLE):
            request = ResolveAllRequest()
            request.context["targetingKey"] = f"flagged {self.PEOPLE * number + person}"
            ServiceStub(self._channel).ResolveAll(request)
            self.resolved += 1


class Erring:
    """Calls that must fail, each with its code."""

    def __init__(self, suite: Suite) -> None:
        self._gateway = suite.gateway_address
        events = suite.channel("events")
        self._events = EventsServiceStub(events)
        self._nobody = EventsServiceStub(clients.channel(suite.addresses()["events"], None))
        self._forger = EventsServiceStub(clients.channel(suite.addresses()["events"], "a.b.c"))
        self._experiments = ExperimentsServiceStub(suite.channel("experiments"))
        self._funnels = FunnelsServiceStub(suite.channel("funnels"))
        self._unknown: grpc.UnaryUnaryMultiCallable[bytes, bytes] = events.unary_unary(
            "/brain.events.v1.EventsService/Unknown"
        )
        code = grpc.StatusCode
        self._kinds: Sequence[Callable[[], None]] = (
            lambda: refused(code.UNAUTHENTICATED, lambda: self._nobody.GetTopEvents(_top())),
            lambda: refused(code.UNAUTHENTICATED, lambda: self._forger.GetTopEvents(_top())),
            lambda: refused(code.INVALID_ARGUMENT, self._poison),
            lambda: refused(code.INVALID_ARGUMENT, self._nothing),
            lambda: refused(code.UNIMPLEMENTED, lambda: self._unknown(b"")),
            lambda: refused(code.NOT_FOUND, self._no_experiment),
            lambda: refused(code.NOT_FOUND, self._no_funnel),
            lambda: _expect(self._gateway, "GET", "/api/analytics/events", 401),
            lambda: _expect(self._gateway, "POST", "/v1/batch", 400, {}, "{"),
            lambda: _expect(self._gateway, "GET", f"/nowhere/{secrets.token_hex(8)}", 404),
        )

    def round(self, number: int) -> None:
        """Err in the next way."""
        self._kinds[number % len(self._kinds)]()

    def _poison(self) -> None:
        wrong = event(SINGLE, f"poisoned {secrets.token_hex(8)}")
        wrong.value = float("nan")
        self._events.TrackEvent(pb.TrackEventRequest(event=wrong))

    def _nothing(self) -> None:
        self._events.CountEvents(pb.CountEventsRequest(page_size=-1))

    def _no_experiment(self) -> None:
        request = AssignVariantRequest(experiment_key=f"none {secrets.token_hex(8)}")
        request.person.user_id = "somebody"
        self._experiments.AssignVariant(request)

    def _no_funnel(self) -> None:
        self._funnels.GetFunnel(GetFunnelRequest(funnel_id=f"none-{secrets.token_hex(8)}"))


class Passing:
    """Clients that connect and go: after a call, in the middle of one, or without a word."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._addresses = [*suite.addresses().values(), suite.flags_address]

    def round(self, number: int) -> None:
        """Come to each address in turn, in each way."""
        address = self._addresses[number % len(self._addresses)]
        with socket.create_connection(_parts(address)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n")
        with clients.channel(address, self._suite.token) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            health.Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]  # stubs lack it
            watch = health.Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]  # likewise
            next(watch)
        self._leave_a_scan()
        with socket.create_connection(_parts(self._suite.gateway_address)) as raw:
            raw.sendall(b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")

    def look_around(self, number: int) -> None:
        """Reflect, as tools do."""
        services = list(self._suite.addresses().values())
        with clients.channel(services[number % len(services)], self._suite.token) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            for name in database.get_services():
                database.FindFileContainingSymbol(name)

    def _leave_a_scan(self) -> None:
        with self._suite.channel("events") as channel:
            scan = EventsServiceStub(channel).ScanEvents(
                pb.ScanEventsRequest(events=ASKED, time_range=asked_range())
            )
            next(scan, None)
            scan.cancel()


def refused(code: grpc.StatusCode, call: Callable[[], object]) -> None:
    """Make a call that must fail with a code; raise RuntimeError where it does otherwise."""
    try:
        call()
    except grpc.RpcError as error:
        if error.code() is code:
            return
        raise
    raise RuntimeError(f"a call that should fail with {code.name} did not")


def _expect(
    address: str,
    method: str,
    path: str,
    status: int,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
) -> None:
    with closing(HTTPConnection(address, timeout=60)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        answer.read()
    if answer.status != status:
        raise RuntimeError(f"{method} {path}: {answer.status}")


def _sign_in(suite: Suite) -> str:
    """Return the cookies of somebody who signed in."""
    path = f"{DASHBOARD}/sign-in"
    with closing(HTTPConnection(suite.gateway_address, timeout=60)) as connection:
        connection.request("GET", path)
        form = connection.getresponse()
        proof = _PROOF.search(form.read().decode())
        assert proof is not None
        [cookie] = _cookies(form.headers.get_all("set-cookie", []))
        fields = urlencode({"token": suite.token, "proof": proof[1]})
        kind = {"content-type": "application/x-www-form-urlencoded", "cookie": cookie}
        connection.request("POST", path, fields, kind)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 303
        return "; ".join(_cookies(answer.headers.get_all("set-cookie", [])))


def _cookies(told: Sequence[str]) -> list[str]:
    return [each.partition(";")[0] for each in told]


def _encoded(key: str) -> str:
    return base64.b64encode(f"{key}:".encode()).decode()


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _top() -> pb.GetTopEventsRequest:
    return pb.GetTopEventsRequest(time_range=last_days(1))
