"""Clients that open calls and then keep still take nothing from the others."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from brain.events.v1.events_pb2 import TrackEventsRequest, TrackEventsResponse
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from shared.auth import Role
from tests.shared.conftest import Served, Start
from tests.shared.sample_service import SERVICE, Sample, eventually, reason

ONE = TrackEventsRequest()
HEALTH = "/grpc.health.v1.Health"
ASK_HEALTH = health_pb2.HealthCheckRequest()


class Silence:
    """Requests, and then none until the test ends."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def after(self, *requests: Any) -> Iterator[Any]:  # noqa: ANN401 - requests of any method
        yield from requests
        self._over.wait(30)

    def end(self) -> None:
        self._over.set()


@pytest.fixture
def silence() -> Iterator[Silence]:
    silence = Silence()
    yield silence
    silence.end()


def check(served: Served) -> int:
    coders = (health_pb2.HealthCheckRequest.SerializeToString, health_pb2.HealthCheckResponse.FromString)
    ask = served.channel(None).unary_unary(f"{HEALTH}/Check", *coders)
    return ask(ASK_HEALTH, timeout=5).status


def reflect(served: Served, requests: Iterator[Any]) -> Any:  # noqa: ANN401 - a call that is iterated
    coders = (
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    return served.channel(None).stream_stream(method, *coders)(requests)


def streams(served: Served, silence: Silence, number: int) -> list[Any]:
    """Streams that were answered once and then keep still."""
    opened = [served.stub().talk(silence.after(ONE)) for _ in range(number)]
    for stream in opened:
        next(stream)
    return opened


def test_health_answers_while_every_thread_is_taken(start: Start) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def ask(_request: object, _context: object) -> TrackEventsResponse:
        entered.release()
        leave.wait(10)
        return TrackEventsResponse()

    served = start(Sample(ask=ask), max_workers=2, maximum_concurrent_rpcs=3)
    calls = [served.stub().ask.future(ONE) for _ in range(3)]
    assert entered.acquire(timeout=5)
    assert entered.acquire(timeout=5)
    assert eventually(lambda: refused(served))
    assert check(served) == health_pb2.HealthCheckResponse.SERVING
    leave.set()
    for call in calls:
        call.result(5)


def refused(served: Served) -> bool:
    try:
        served.stub().ask(ONE, timeout=0.2)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and reason(error) == "OVERLOADED"
    return False


def test_streams_over_their_limit_are_refused_and_leave_threads_to_others(
    start: Start, silence: Silence
) -> None:
    served = start(max_workers=3, maximum_streams=2)
    opened = streams(served, silence, 2)
    with pytest.raises(grpc.RpcError) as caught:
        next(served.stub().talk(silence.after(ONE)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(caught.value) == "TOO_MANY_STREAMS"
    assert served.stub().ask(ONE, timeout=5).accepted == 0
    assert check(served) == health_pb2.HealthCheckResponse.SERVING
    opened[0].cancel()
    assert eventually(lambda: streams_again(served)), "what ends makes room"


def streams_again(served: Served) -> bool:
    try:
        return len(list(served.stub().watch(ONE))) == 2
    except grpc.RpcError:
        return False


def test_anonymous_reflection_takes_nothing_from_callers(start: Start, silence: Silence) -> None:
    served = start(max_workers=2, maximum_streams=1)
    ask = reflection_pb2.ServerReflectionRequest(list_services="*")
    with ExitStack() as opened:
        for _ in range(4):
            stream = reflect(served, silence.after(ask))
            opened.callback(stream.cancel)
            next(stream)
        with pytest.raises(grpc.RpcError) as caught:
            next(reflect(served, iter([ask])))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert served.stub().ask(ONE, timeout=5).accepted == 0
        assert next(served.stub().talk(iter([ONE]))).accepted == 0
        assert check(served) == health_pb2.HealthCheckResponse.SERVING


def test_a_stream_that_sends_nothing_is_ended(start: Start, silence: Silence) -> None:
    served = start(stream_idle_seconds=0.2)
    [stream] = streams(served, silence, 1)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reason(caught.value) == "CLIENT_SILENT"
    labels = {"grpc_method": "Talk", "grpc_type": "bidi_stream", "grpc_code": "DeadlineExceeded"}
    assert eventually(lambda: served.counted("grpc_server_handled_total", **labels) == 1)


def test_a_collecting_stream_and_reflection_are_ended_too(start: Start, silence: Silence) -> None:
    served = start(stream_idle_seconds=0.2)
    calls: list[Callable[[], object]] = [
        lambda: served.stub().collect(silence.after()),
        lambda: next(reflect(served, silence.after())),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert reason(caught.value) == "CLIENT_SILENT"


def test_a_handler_may_take_longer_than_its_client(start: Start, silence: Silence) -> None:
    working, done = threading.Event(), threading.Event()

    def ask(_request: object, _context: object) -> TrackEventsResponse:
        working.set()
        done.wait(10)
        return TrackEventsResponse(accepted=7)

    served = start(Sample(ask=ask), stream_idle_seconds=0.2)
    call = served.stub().ask.future(ONE)
    assert working.wait(5)
    with pytest.raises(grpc.RpcError):
        next(served.stub().talk(silence.after()))
    done.set()
    assert call.result(5).accepted == 7


@pytest.mark.parametrize("method", [f"/{SERVICE}/Ask", f"/{SERVICE}/Watch"])
def test_a_call_whose_request_never_comes_frees_its_thread(
    start: Start, silence: Silence, method: str
) -> None:
    served = start(max_workers=1, stream_idle_seconds=0.2)
    token = served.token(Role.ANALYST)
    with pytest.raises(grpc.RpcError) as caught:
        served.channel(token).stream_unary(method)(silence.after())
    assert caught.value.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert served.stub().ask(ONE, timeout=5).accepted == 0


def test_a_call_closed_without_a_request_is_told_so(start: Start) -> None:
    served = start()
    with pytest.raises(grpc.RpcError) as caught:
        served.channel(served.token(Role.ANALYST)).stream_unary(f"/{SERVICE}/Ask")(iter(()))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_responses_that_nobody_reads_end_the_call(start: Start) -> None:
    closed = threading.Event()

    def endless(_request: object, _context: object) -> Iterator[TrackEventsResponse]:
        response = TrackEventsResponse()
        response.rejections.add(reason="x" * 100_000)
        try:
            while True:
                yield response
        finally:
            closed.set()

    served = start(Sample(watch=endless), stream_idle_seconds=0.2)
    responses = served.stub().watch(ONE)
    assert closed.wait(10)
    labels = {"grpc_method": "Watch", "grpc_type": "server_stream", "grpc_code": "DeadlineExceeded"}
    assert eventually(lambda: served.counted("grpc_server_handled_total", **labels) == 1)
    responses.cancel()
