"""The gateway: events captured a second, and what REST adds to a call.

Captured are batches of a hundred messages as Segment's libraries send them, by callers that keep their
connection. REST is measured beside the same call over gRPC, by turns.
"""

import base64
import json
import os
import secrets
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1.events_pb2 import GetTopEventsRequest
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from benchmarks import data, measuring
from benchmarks.report import Line, milliseconds, per_second
from benchmarks.stack import KEY, free_port
from deploy import children

if TYPE_CHECKING:
    import subprocess

    from google.protobuf.timestamp_pb2 import Timestamp

    from benchmarks.stack import ServiceProcess, Stack

DATABASE = "gateway"
BATCH = 100
CALLERS = (1, 4)
CAPTURED_PER_SECOND = 10_000
ADDED_SECONDS = 0.003
START_SECONDS = 30
RANGE = {"startTime": "2020-01-01T00:00:00Z", "endTime": "2100-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    pid: int
    address: str
    write_key: str

    def connection(self) -> HTTPConnection:
        """Return a connection that is kept."""
        return HTTPConnection(self.address, timeout=60)


def run(stack: "Stack", events: int, calls: int) -> list[Line]:
    """Measure capturing so many events with each number of callers, and a REST call so often."""
    stack.create(DATABASE)
    with stack.service(DATABASE) as service, running(stack, service) as gateway:
        _send(gateway, _bodies(BATCH * 20), 1)  # makes partitions and connections
        lines = [_captured(gateway, callers, events) for callers in CALLERS]
        lines.append(_added(service, gateway, calls))
    stack.drop(DATABASE)
    return lines


def _captured(gateway: Gateway, callers: int, events: int) -> Line:
    bodies = _bodies(events)
    sent = len(bodies) * BATCH
    before = measuring.cpu_seconds(gateway.pid)
    elapsed = measuring.seconds(lambda: _send(gateway, bodies, callers))
    busy = measuring.cpu_seconds(gateway.pid) - before
    rate = sent / elapsed
    return Line(
        f"capture in batches of {BATCH}, {callers} callers",
        per_second(sent, elapsed),
        f"{busy / sent * 1e6:.0f} µs of a processor in the gateway, an event",
        bar=f"≥ {CAPTURED_PER_SECOND:,} /s",
        is_met=rate >= CAPTURED_PER_SECOND,
    )


def _added(service: "ServiceProcess", gateway: Gateway, calls: int) -> Line:
    path = f"/api/analytics/events?action=top&startTime={RANGE['startTime']}&endTime={RANGE['endTime']}"
    headers = {"authorization": f"Bearer {service.token}"}
    request = GetTopEventsRequest(time_range=TimeRange(), with_users=True)
    for name, stamp in (("start_time", RANGE["startTime"]), ("end_time", RANGE["endTime"])):
        moment: Timestamp = getattr(request.time_range, name)
        moment.FromJsonString(stamp)
    with service.channel() as channel, closing(gateway.connection()) as connection:
        stub = EventsServiceStub(channel)

        def over_http() -> None:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200

        over_grpc, over_rest = measuring.medians(
            [lambda: stub.GetTopEvents(request, metadata=service.metadata), over_http], calls
        )
    added = over_rest - over_grpc
    return Line(
        "REST, the top ten",
        milliseconds(over_rest),
        f"gRPC {milliseconds(over_grpc)}",
        f"+ {milliseconds(added)}",
        f"≤ + {milliseconds(ADDED_SECONDS)}",
        added <= ADDED_SECONDS,
    )


def _bodies(events: int) -> list[bytes]:
    texts = data.profiles()
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return [
        json.dumps({"batch": [_message(texts, now) for _ in range(BATCH)]}).encode()
        for _ in range(events // BATCH)
    ]


def _message(texts: "Sequence[data.Profile]", now: str) -> dict[str, object]:
    text = texts[secrets.randbelow(len(texts))]
    return {
        "type": "track",
        "event": f"event {secrets.randbelow(20)}",
        "userId": f"user-{secrets.randbelow(10_000)}",
        "messageId": str(uuid.uuid4()),
        "timestamp": now,
        "context": {
            "library": {"name": "analytics-python", "version": "2.3.4"},
            "ip": "192.0.2.1",
            "userAgent": text.user_agent,
            "page": {"path": text.page, "referrer": text.referrer},
        },
        "properties": json.loads(text.properties_json),
        "integrations": {},
    }


def _send(gateway: Gateway, bodies: list[bytes], callers: int) -> None:
    def send(own: list[bytes]) -> None:
        with closing(gateway.connection()) as connection:
            for body in own:
                connection.request("POST", "/v1/batch", body, {"authorization": _basic(gateway.write_key)})
                answer = connection.getresponse()
                assert answer.read() == b'{"success":true}'

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(send, [bodies[start::callers] for start in range(callers)]))


def _basic(write_key: str) -> str:
    return "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()


@contextmanager
def running(stack: "Stack", service: "ServiceProcess") -> Iterator[Gateway]:
    """Run a gateway before a service."""
    address, write_key = f"127.0.0.1:{free_port()}", secrets.token_hex(16)
    chosen = {
        "ADDRESS": address,
        "METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "EVENTS_ADDRESS": service.address,
        "TOKEN_PUBLIC_KEY_FILE": str(stack.directory / "public.pem"),
        "SECRET": KEY,
        "WRITE_KEYS": f"benchmark:{write_key}",
        "INGEST_TOKEN": service.token,
    }
    environment = os.environ | {f"GATEWAY_{name}": value for name, value in chosen.items()}
    log = stack.directory / "gateway.log"
    process = children.start([sys.executable, "-m", "gateway"], log=log, environment=environment)
    gateway = Gateway(process.pid, address, write_key)
    try:
        _wait_until_serving(process, gateway)
        yield gateway
    finally:
        process.terminate()
        process.wait()


def _wait_until_serving(process: "subprocess.Popen[bytes]", gateway: Gateway) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with closing(gateway.connection()) as connection, suppress(OSError):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError("the gateway does not start")
