"""Calls whose client goes away are told from those that were answered."""

import logging
import threading
from collections.abc import Iterator

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse

from tests.shared.conftest import Start
from tests.shared.sample_service import Sample, eventually

ONE = TrackEventsRequest(events=[Event(event="viewed")])


def test_a_cancelled_stream_ends_as_cancelled(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.calls")
    closed = threading.Event()

    def endless(_request: object, _context: object) -> Iterator[TrackEventsResponse]:
        try:
            while True:
                yield TrackEventsResponse()
        finally:
            closed.set()

    served = start(Sample(watch=endless))
    responses = served.stub().watch(ONE)
    next(responses)
    responses.cancel()
    assert closed.wait(5), "the handler's generator is closed"
    assert eventually(lambda: [vars(record).get("code") for record in caplog.records].count("CANCELLED"))
    labels = {"grpc_method": "Watch", "grpc_type": "server_stream"}
    assert served.counted("grpc_server_handled_total", **labels, grpc_code="Canceled") == 1


def test_a_request_stream_cut_by_its_client_ends_as_cancelled(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shared.calls")
    cut = threading.Event()

    def requests() -> Iterator[TrackEventsRequest]:
        yield ONE
        cut.wait(5)

    def talk(given: Iterator[object], context: grpc.ServicerContext) -> Iterator[TrackEventsResponse]:
        context.add_callback(cut.set)
        next(given)
        yield TrackEventsResponse()
        cut.wait(5)
        next(given)

    responses = start(Sample(talk=talk)).stub().talk(requests())
    next(responses)
    responses.cancel()
    assert eventually(lambda: [vars(record).get("code") for record in caplog.records] == ["CANCELLED"])


def test_a_call_nobody_waited_for_is_not_ok(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.calls")

    def ask(_request: object, context: grpc.ServicerContext) -> TrackEventsResponse:
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(5)
        return TrackEventsResponse()

    with pytest.raises(grpc.RpcError):
        start(Sample(ask=ask)).stub().ask(ONE, timeout=0.05)
    assert eventually(
        lambda: [vars(record).get("code") for record in caplog.records] == ["DEADLINE_EXCEEDED"]
    )
