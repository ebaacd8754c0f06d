"""A small events service in memory: it rejects event by event and knows every event it has stored."""

import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.conversion_pb2 import GetConversionRateRequest, GetConversionRateResponse
from brain.events.v1.events_pb2_grpc import EventsServiceServicer, add_EventsServiceServicer_to_server
from brain.metrics.v1.metrics_pb2 import MetricPoint, MetricSeries, ReadMetricRequest, ReadMetricResponse
from brain.metrics.v1.metrics_pb2_grpc import (
    MetricSourceServiceServicer,
    add_MetricSourceServiceServicer_to_server,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

Answer = TypeVar("Answer", bound=Message)
Identity = tuple[str, str, int, int, str]


@dataclass
class Store:
    """Outlives the servers that write to it, as a database would."""

    events: dict[Identity, pb.Event] = field(default_factory=dict)
    batch_sizes: list[int] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, event: pb.Event) -> bool:
        who = ("user", event.user_id) if event.user_id else ("anonymous", event.anonymous_id)
        kind, name = who if who[1] else ("session", event.session_id)
        key = (kind, name, event.event_time.seconds, event.event_time.nanos, event.event_id)
        known = key in self.events
        self.events.setdefault(key, event)
        return not known


class MemoryMetrics(MetricSourceServiceServicer):
    """One series, whatever is asked."""

    def __init__(self) -> None:
        self.points: list[MetricPoint] = []

    def ReadMetric(  # noqa: N802 — the contract's name
        self, request: ReadMetricRequest, context: grpc.ServicerContext
    ) -> ReadMetricResponse:
        return ReadMetricResponse(
            series=MetricSeries(points=self.points, time_zone=request.query.time_zone or "UTC")
        )


class MemoryEvents(EventsServiceServicer):
    """Faults are switched on from outside: a gate that holds calls, failures to come, replies to lose."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[tuple[grpc.StatusCode, float | None]] = []  # code, advised delay in seconds
        self.lost_replies = 0
        self.mad_replies = 0  # to come; each rejects an event that was not in the batch
        self.calls_allowed: int | None = None  # later ones are refused for good
        self.calls = 0
        self.answers: list[Message] = []  # to questions about numbers
        self.requests: list[Message] = []
        self.largest_page = 1_000

    def TrackEvent(  # noqa: N802 — the contract's name
        self, request: pb.TrackEventRequest, context: grpc.ServicerContext
    ) -> pb.TrackEventResponse:
        reply = self._store([request.event])
        if reply.rejections:
            _abort_bad_fields(context, reply.rejections)
        return pb.TrackEventResponse(event_id=request.event.event_id, duplicate=bool(reply.duplicates))

    def TrackEvents(  # noqa: N802 — the contract's name
        self, request: pb.TrackEventsRequest, context: grpc.ServicerContext
    ) -> pb.TrackEventsResponse:
        self.calls += 1
        self.store.tokens.add(str(dict(context.invocation_metadata()).get("authorization", "")))
        assert self.gate.wait(30)
        self._fail_if_asked(context)
        if not 1 <= len(request.events) <= 5_000:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "events: 1 to 5,000 are taken")
        reply = self._store(list(request.events))
        if self.lost_replies:
            self.lost_replies -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost after the commit")
        if self.mad_replies:
            self.mad_replies -= 1
            reply.rejections.add(index=5_000, field="event", reason="was never sent")
        return reply

    def QueryEvents(  # noqa: N802 — the contract's name
        self, request: pb.QueryEventsRequest, context: grpc.ServicerContext
    ) -> pb.QueryEventsResponse:
        self.requests.append(request)
        newest = sorted(self.store.events.values(), key=lambda event: -event.event_time.seconds)
        first = int(request.page_token or 0)
        last = first + min(request.page_size, self.largest_page)
        token = str(last) if last < len(newest) else ""
        return pb.QueryEventsResponse(events=newest[first:last], next_page_token=token)

    def CountEvents(  # noqa: N802 — the contract's name
        self, request: pb.CountEventsRequest, context: grpc.ServicerContext
    ) -> pb.CountEventsResponse:
        return self._answer(request, pb.CountEventsResponse)

    def GetTopEvents(  # noqa: N802 — the contract's name
        self, request: pb.GetTopEventsRequest, context: grpc.ServicerContext
    ) -> pb.GetTopEventsResponse:
        return self._answer(request, pb.GetTopEventsResponse)

    def GetActiveUsers(  # noqa: N802 — the contract's name
        self, request: pb.GetActiveUsersRequest, context: grpc.ServicerContext
    ) -> pb.GetActiveUsersResponse:
        return self._answer(request, pb.GetActiveUsersResponse)

    def GetConversionRate(  # noqa: N802 — the contract's name
        self, request: GetConversionRateRequest, context: grpc.ServicerContext
    ) -> GetConversionRateResponse:
        return self._answer(request, GetConversionRateResponse)

    def _answer(self, request: Message, kind: type[Answer]) -> Answer:
        self.requests.append(request)
        answers = [each for each in self.answers if isinstance(each, kind)]
        asked = sum(isinstance(each, type(request)) for each in self.requests)
        return answers[min(asked, len(answers)) - 1]  # each once, in turn; the last for ever

    def _store(self, events: list[pb.Event]) -> pb.TrackEventsResponse:
        reply = pb.TrackEventsResponse()
        with self.store.lock:
            self.store.batch_sizes.append(len(events))
            for index, event in enumerate(events):
                if event.event.startswith("bad"):
                    reply.rejections.add(index=index, field="event", reason="is bad")
                    reply.rejections.add(index=index, field="value", reason="is bad too")
                elif self.store.add(event):
                    reply.accepted += 1
                else:
                    reply.duplicates += 1
        return reply

    def _fail_if_asked(self, context: grpc.ServicerContext) -> None:
        if self.calls_allowed is not None and self.calls > self.calls_allowed:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no longer")
        if not self.failures:
            return
        code, delay = self.failures.pop(0)
        if delay is not None:
            detail = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=int(delay * 1e9)))
            _send_detail(context, code, detail)
        context.abort(code, "asked to fail")


def _abort_bad_fields(context: grpc.ServicerContext, rejections: Sequence[pb.Rejection]) -> None:
    detail = error_details_pb2.BadRequest()
    for rejection in rejections:
        detail.field_violations.add(field=f"event.{rejection.field}", description=rejection.reason)
    _send_detail(context, grpc.StatusCode.INVALID_ARGUMENT, detail)
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the event has bad fields")


def _send_detail(context: grpc.ServicerContext, code: grpc.StatusCode, detail: object) -> None:
    status = status_pb2.Status(code=code.value[0], message="asked to fail")
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))


@dataclass
class Running:
    """A served MemoryEvents."""

    servicer: MemoryEvents
    metrics: MemoryMetrics
    server: grpc.Server
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Break off every call, then wait until the port is free."""
        self.servicer.gate.set()
        self.server.stop(grace=None).wait()


def serve(store: Store, port: int = 0) -> Running:
    """Serve on 127.0.0.1, on a free port unless one is given."""
    servicer = MemoryEvents(store)  # type: ignore[abstract]  # the other calls answer UNIMPLEMENTED
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=12))
    add_EventsServiceServicer_to_server(servicer, server)
    metrics = MemoryMetrics()  # type: ignore[abstract]  # the other calls answer UNIMPLEMENTED
    add_MetricSourceServiceServicer_to_server(metrics, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return Running(servicer, metrics, server, bound)


def running(store: Store) -> Iterator[Running]:
    """As a fixture: served, and stopped at the end."""
    served = serve(store)
    yield served
    served.kill()
