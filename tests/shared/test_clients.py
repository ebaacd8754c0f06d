"""Channels: retries, deadlines, and what they send along."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse

from shared.auth import Role
from shared.request_id import current_request_id
from tests.shared.conftest import Start
from tests.shared.sample_service import Sample, SampleStub, eventually

ONE = TrackEventsRequest(events=[Event()])


def test_a_restart_of_the_server_costs_no_call(start: Start) -> None:
    served = start()
    stub = served.stub()
    assert stub.ask(ONE).accepted == 1
    address = served.address
    served.running.stop()
    with ThreadPoolExecutor(1) as calling:
        large = TrackEventsRequest(events=[Event(page="x" * 1_000)] * 2_000)
        call = calling.submit(stub.ask, large)
        assert not eventually(call.done, 0.3), "it waits between attempts"
        start(address=address)
        assert call.result(10).accepted == 2_000


def test_a_service_that_stays_away_is_unavailable_in_the_end(start: Start) -> None:
    served = start()
    stub = SampleStub(served.channel(served.token(Role.ANALYST), deadline_seconds=20))
    served.running.stop()
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        stub.ask(ONE)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - began > 4, "after all its attempts"


def slow() -> Sample:
    def ask(_request: object, context: grpc.ServicerContext) -> TrackEventsResponse:
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(5)
        return TrackEventsResponse()

    def watch(_request: object, context: grpc.ServicerContext) -> Iterator[TrackEventsResponse]:
        yield ask(_request, context)

    return Sample(ask=ask, watch=watch)


def test_calls_have_a_deadline_of_their_own_or_the_channels(start: Start) -> None:
    served = start(slow())
    stub = SampleStub(served.channel(served.token(Role.ANALYST), deadline_seconds=0.2))
    calls: list[Callable[[], object]] = [lambda: stub.ask(ONE), lambda: next(stub.watch(ONE))]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    labels = {"grpc_method": "Watch", "grpc_type": "server_stream"}

    def ended() -> float:
        """The client's cancellation may reach the server before the server's own clock says so."""
        return sum(
            served.counted("grpc_server_handled_total", **labels, grpc_code=code) or 0
            for code in ("DeadlineExceeded", "Canceled")
        )

    assert eventually(lambda: ended() == 1)
    patient = SampleStub(served.channel(served.token(Role.ANALYST)))
    with pytest.raises(grpc.RpcError) as caught:
        patient.ask(ONE, timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_call_on_behalf_of_another_ends_with_it(start: Start) -> None:
    left: list[float] = []

    def note(_request: object, context: grpc.ServicerContext) -> TrackEventsResponse:
        left.append(context.time_remaining())
        return TrackEventsResponse()

    inner = start(Sample(ask=note)).stub()
    outer = start(Sample(ask=lambda request, _context: inner.ask(request))).stub()
    outer.ask(ONE, timeout=5)
    outer.ask(ONE, timeout=100)
    assert left[0] < 10
    assert 30 < left[1] < 110  # gRPC rounds up on the wire


def test_a_caller_that_waits_without_end_leaves_a_call_its_own_deadline(start: Start) -> None:
    left: list[float] = []

    def note(_request: object, context: grpc.ServicerContext) -> TrackEventsResponse:
        left.append(context.time_remaining())
        return TrackEventsResponse()

    inner = start(Sample(ask=note)).stub()
    outer = start(Sample(ask=lambda request, _context: inner.ask(request)))
    with grpc.insecure_channel(outer.address) as endless:
        token = f"Bearer {outer.token(Role.ANALYST)}"
        SampleStub(endless).ask(ONE, metadata=(("authorization", token),))
    assert 10 < left[0] < 40


def test_the_request_id_travels_on(start: Start) -> None:
    seen: list[str] = []

    def note(_request: object, _context: object) -> TrackEventsResponse:
        seen.append(current_request_id.get())
        return TrackEventsResponse()

    inner = start(Sample(ask=note)).stub()
    outer = start(Sample(ask=lambda request, _context: inner.ask(request))).stub()
    outer.ask(ONE, metadata=(("x-request-id", "r-42"),))
    outer.ask(ONE)
    assert seen[0] == "r-42"
    assert len(seen[1]) == 32


def test_a_service_that_is_away_makes_its_caller_unavailable(start: Start) -> None:
    inner = start()
    stub = SampleStub(inner.channel(inner.token(Role.ANALYST), deadline_seconds=0.2))
    inner.running.stop()
    outer = start(Sample(ask=lambda request, _context: stub.ask(request)))
    with grpc.insecure_channel(outer.address, (("grpc.enable_retries", 0),)) as once:
        token = f"Bearer {outer.token(Role.ANALYST)}"
        with pytest.raises(grpc.RpcError) as caught:
            SampleStub(once).ask(ONE, metadata=(("authorization", token),))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "a service this one needs is away"


def test_channels_need_nothing_of_a_server() -> None:
    code = (
        "import shared.clients, sys;"
        "print({'cryptography', 'jwt', 'prometheus_client', 'pydantic', 'psycopg', 'sqlalchemy'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
