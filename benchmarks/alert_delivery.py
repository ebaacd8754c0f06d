"""How soon after its window has closed an alert is told to a receiver."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1 import definition_pb2
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1 import common_pb2

from benchmarks.report import Line, milliseconds
from services.alerts.application import Application
from shared.clients import channel

ALERTS = 20
BAR_SECONDS = 1.0
_TIMEOUT_SECONDS = 120.0
_HOUR_SECONDS = 3_600


def measure(running: Application, token: str) -> Line:
    """Have alerts whose windows close one after the other tell a receiver.

    There is an event-0 in the hour that is over, and none in the hour before.
    """
    with receiver() as (url, arrived), channel(f"127.0.0.1:{running.server.port}", token) as calls:
        hour = int(time.time()) // _HOUR_SECONDS * _HOUR_SECONDS
        first = int(time.time()) - hour + 5
        stub = AlertsServiceStub(calls)
        for number in range(ALERTS):
            # What a window waits for late data decides when it closes, to the second.
            stub.CreateAlert(_request(number, f"{url}/{number}", first + number))
        running.work()
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while len(arrived) < ALERTS:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(arrived)} of {ALERTS} alerts were told")
            time.sleep(0.05)
    delays = sorted(arrived[f"/{number}"] - (hour + first + number) for number in range(ALERTS))
    return Line(
        f"a window closes until its webhook is delivered, the slowest of {ALERTS}",
        milliseconds(delays[-1]),
        reference=f"{milliseconds(delays[ALERTS // 2])} the median",
        bar=f"≤ one interval + {BAR_SECONDS:.0f} s",
        is_met=delays[-1] <= _HOUR_SECONDS + BAR_SECONDS,
    )


def _request(number: int, url: str, grace_seconds: int) -> pb.CreateAlertRequest:
    definition = definition_pb2.AlertDefinition(
        name="Delivered",
        metric=definition_pb2.MetricReference(
            source="events",
            name="event_count",
            labels={"event": "event-0"},
            interval=common_pb2.INTERVAL_HOUR,
        ),
        condition=definition_pb2.ALERT_CONDITION_GREATER_THAN,
        threshold=0.0,
        grace_seconds=grace_seconds,
        channels=[definition_pb2.Channel(kind=definition_pb2.CHANNEL_KIND_WEBHOOK, recipients=[url])],
    )
    return pb.CreateAlertRequest(alert_id=f"told-{number}", definition=definition)


@contextmanager
def receiver() -> Iterator[tuple[str, dict[str, float]]]:
    """Yield a URL, and when each path was first posted to, in Unix seconds."""
    arrived: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.setdefault(self.path, time.time())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", arrived
        finally:
            server.shutdown()
            thread.join()
