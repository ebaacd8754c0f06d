"""Spans of calls and of rounds in the background, as a collector is told them."""

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Barrier
from threading import Event as Flag

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client import CollectorRegistry

from shared.auth import Role
from shared.chores import Chore, Housekeeper
from shared.clients import channel
from shared.errors import NotFound, Unavailable
from shared.logs import JsonLines
from shared.request_id import current_request_id
from tests.collector import Collector
from tests.shared.conftest import Traced
from tests.shared.sample_service import SERVICE, Sample, SampleStub, failing
from tests.waiting import until

ONE = TrackEventsRequest(events=[Event(event="a", user_id="secret-user")])
ASK = f"{SERVICE}/Ask"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # W3C Trace Context, section 3.2


def test_a_served_call_is_a_span_with_its_names(traced: Traced, collector: Collector) -> None:
    before = time.time_ns()
    traced().stub().ask(ONE, metadata=(("x-request-id", "r-1"),))
    [span] = traced.spans(ASK)
    assert (span.service, span.kind, span.failed, span.parent_id) == ("shared", "SERVER", False, "")
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "Ask",
        "rpc.grpc.status_code": 0,
        "request_id": "r-1",
    }
    assert before <= span.begun_nanos < span.ended_nanos <= time.time_ns()


def test_streams_are_spans_too(traced: Traced, collector: Collector) -> None:
    stub = traced().stub()
    assert len(list(stub.talk(iter([ONE, ONE])))) == 2
    list(stub.watch(ONE))
    stub.collect(iter([ONE]))
    for name in ("Talk", "Watch", "Collect"):
        assert traced.spans(f"{SERVICE}/{name}")[0].attributes["rpc.grpc.status_code"] == 0


@pytest.mark.parametrize(
    ("error", "code", "failed"),
    [
        (NotFound("none of that name", "THING_UNKNOWN"), grpc.StatusCode.NOT_FOUND, False),
        (Unavailable("later", "AWAY"), grpc.StatusCode.UNAVAILABLE, True),
        (RuntimeError("secret-fault"), grpc.StatusCode.INTERNAL, True),
    ],
)
def test_faults_of_the_server_are_errors_and_its_refusals_are_not(
    traced: Traced, collector: Collector, error: Exception, code: grpc.StatusCode, *, failed: bool
) -> None:
    served = traced(failing(error))
    with grpc.insecure_channel(served.address, (("grpc.enable_retries", 0),)) as once:
        authorization = ("authorization", f"Bearer {served.token(Role.ANALYST)}")
        with pytest.raises(grpc.RpcError):
            SampleStub(once).ask(ONE, metadata=(authorization,))
    [span] = traced.spans(ASK)
    assert (span.attributes["rpc.grpc.status_code"], span.failed) == (code.value[0], failed)


def test_a_call_to_another_service_is_part_of_the_trace(traced: Traced, collector: Collector) -> None:
    inner = traced()
    stub = inner.stub()
    outer = traced(Sample(ask=lambda request, _context: stub.ask(request))).stub()
    outer.ask(ONE, metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"), ("x-request-id", "r-2")))
    spans = traced.spans(ASK)
    assert [span.kind for span in spans] == ["SERVER", "CLIENT", "SERVER"]
    assert {span.trace_id for span in spans} == {TRACE}
    assert [span.parent_id for span in spans] == [SPAN, spans[0].span_id, spans[1].span_id]
    assert [span.attributes.get("request_id") for span in spans] == ["r-2", None, "r-2"]
    assert spans[1].attributes["server.port"] == inner.running.port
    assert spans[1].attributes["rpc.grpc.status_code"] == 0


def test_streams_asked_of_another_service_are_part_of_the_trace(traced: Traced, collector: Collector) -> None:
    stub = traced().stub()

    def ask(request: TrackEventsRequest, _context: object) -> TrackEventsResponse:
        return TrackEventsResponse(
            accepted=sum(each.accepted for each in stub.talk(iter([request, request])))
        )

    assert traced(Sample(ask=ask)).stub().ask(ONE).accepted == 2
    [outer] = traced.spans(ASK)
    asked, served = traced.spans(f"{SERVICE}/Talk")
    assert (served.kind, served.parent_id, asked.parent_id) == ("SERVER", asked.span_id, outer.span_id)


def test_a_call_that_fails_elsewhere_is_an_error_of_its_span(traced: Traced, collector: Collector) -> None:
    stub = traced(failing(NotFound("none of that name", "THING_UNKNOWN"))).stub()

    def ask(request: TrackEventsRequest, _context: object) -> TrackEventsResponse:
        with pytest.raises(grpc.RpcError):
            stub.ask(request)
        return TrackEventsResponse()

    traced(Sample(ask=ask)).stub().ask(ONE)
    [asked] = [span for span in traced.spans(ASK) if span.kind == "CLIENT"]
    assert asked.failed
    assert asked.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]


def test_what_a_caller_does_not_trace_is_not_traced(traced: Traced, collector: Collector) -> None:
    stub = traced().stub()
    stub.ask(ONE, metadata=(("traceparent", f"00-{TRACE}-{SPAN}-00"),))
    stub.ask(ONE)
    [span] = traced.spans(ASK)
    assert span.trace_id != TRACE


def test_a_ratio_of_traces_is_kept(traced: Traced, collector: Collector) -> None:
    stub = traced(traces_sample_ratio=0).stub()
    stub.ask(ONE)
    stub.ask(ONE, metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"),))
    [span] = traced.spans(ASK)
    assert span.trace_id == TRACE, "its caller decided"


def test_probes_are_not_traced(traced: Traced, collector: Collector) -> None:
    served = traced()
    stub = health_pb2_grpc.HealthStub(served.channel())
    stub.Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]  # stubs lack it
    served.stub().ask(ONE)
    assert len(traced.spans(ASK)) == len(collector.spans) == 1


def test_nothing_that_people_sent_is_in_a_span(traced: Traced, collector: Collector) -> None:
    served = traced(failing(RuntimeError("secret-fault")))
    with pytest.raises(grpc.RpcError):
        served.stub().ask(ONE)
    traced.spans(ASK)
    sent = b"".join(collector.requests)
    for secret in (b"secret-user", b"secret-fault", b"somebody", b"Bearer"):
        assert secret not in sent


def test_lines_of_the_log_tell_the_trace(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lines: list[str] = []

    def ask(_request: object, _context: object) -> TrackEventsResponse:
        record = logging.makeLogRecord({"msg": "within", "levelname": "INFO"})
        lines.append(JsonLines().format(record))
        return TrackEventsResponse()

    headers = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("x-request-id", "r-3"))
    traced(Sample(ask=ask)).stub().ask(ONE, metadata=headers)
    within = json.loads(lines[0])
    assert (within["request_id"], within["trace_id"]) == ("r-3", TRACE)
    [call] = [record for record in caplog.records if record.name == "shared.calls"]
    assert vars(call)["trace_id"] == TRACE


def test_a_round_in_the_background_is_a_trace_once_it_asks_somebody(
    traced: Traced, collector: Collector
) -> None:
    served = traced()
    stub = served.stub()
    ids: list[str] = []

    def run() -> float:
        if len(ids) == 1:
            stub.ask(ONE)
        ids.append(current_request_id.get())
        return 0.0 if len(ids) < 3 else 60.0

    keeper = Housekeeper([Chore("asking", run)], CollectorRegistry(), served.running.tracer)
    until(lambda: len(ids) == 3)
    keeper.stop()
    [root] = traced.spans("asking")
    assert (root.kind, root.parent_id, root.attributes) == ("INTERNAL", "", {"request_id": ids[1]})
    [served_call] = [span for span in traced.spans(ASK) if span.kind == "SERVER"]
    assert served_call.trace_id == root.trace_id
    assert served_call.attributes["request_id"] == ids[1]
    assert len(set(ids)) == 3


def test_threads_of_a_round_are_in_one_trace(traced: Traced) -> None:
    served = traced()
    stub = served.stub()
    together = Barrier(4)
    begun = Flag()

    def ask() -> None:
        together.wait()
        stub.ask(ONE)

    def run() -> float:
        begun.set()
        with ThreadPoolExecutor(4) as pool:
            for asked in [pool.submit(copy_context().run, ask) for _ in range(4)]:
                asked.result()
        return 60.0

    keeper = Housekeeper([Chore("asking", run)], CollectorRegistry(), served.running.tracer)
    begun.wait()
    keeper.stop()
    spans = traced.spans(ASK)
    [root] = traced.spans("asking")
    assert len(spans) == 8
    assert {span.trace_id for span in spans} == {root.trace_id}


def test_a_program_that_traces_itself_is_the_parent(traced: Traced, collector: Collector) -> None:
    served = traced()
    parent = NonRecordingSpan(SpanContext(int(TRACE, 16), int(SPAN, 16), False, TraceFlags(1)))
    with channel(served.address, served.token(Role.ANALYST)) as calls, trace.use_span(parent):
        SampleStub(calls).ask(ONE)
    [span] = traced.spans(ASK)
    assert (span.trace_id, span.parent_id) == (TRACE, SPAN)
