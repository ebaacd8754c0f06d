"""A service of all four arities whose methods do what a test tells them to, and its callers."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from brain.events.v1.events_pb2 import TrackEventsRequest, TrackEventsResponse
from brain.options.v1 import options_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2
from grpc_status import rpc_status

SERVICE = "brain.sample.v1.SampleService"
STREAMS = {  # name: (requests stream, responses stream)
    "Ask": (False, False),
    "Collect": (True, False),
    "Watch": (False, True),
    "Talk": (True, True),
    "Undeclared": (False, False),
}


def _describe() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="brain/sample/v1/sample.proto",
        package="brain.sample.v1",
        dependency=["brain/events/v1/events.proto", "brain/options/v1/options.proto"],
    )
    service = file.service.add(name="SampleService")
    for name, (client_streaming, server_streaming) in STREAMS.items():
        method = service.method.add(
            name=name,
            input_type=".brain.events.v1.TrackEventsRequest",
            output_type=".brain.events.v1.TrackEventsResponse",
            client_streaming=client_streaming,
            server_streaming=server_streaming,
        )
        if name != "Undeclared":
            method.options.Extensions[options_pb2.required_role] = options_pb2.ROLE_ANALYST
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


_describe()


def _count(request: TrackEventsRequest, _context: grpc.ServicerContext) -> TrackEventsResponse:
    return TrackEventsResponse(accepted=len(request.events))


def _count_all(requests: Iterable[TrackEventsRequest], _context: grpc.ServicerContext) -> TrackEventsResponse:
    return TrackEventsResponse(accepted=sum(len(request.events) for request in requests))


def _count_each(
    requests: Iterable[TrackEventsRequest], context: grpc.ServicerContext
) -> Iterator[TrackEventsResponse]:
    return (_count(request, context) for request in requests)


def _count_twice(request: TrackEventsRequest, context: grpc.ServicerContext) -> Iterator[TrackEventsResponse]:
    return _count_each([request, request], context)


@dataclass
class Sample:
    """What the methods do; they count events unless a test says otherwise."""

    ask: Callable[..., Any] = _count
    collect: Callable[..., Any] = _count_all
    watch: Callable[..., Any] = _count_twice
    talk: Callable[..., Any] = _count_each
    contexts: list[grpc.ServicerContext] = field(default_factory=list)

    def register(self, server: grpc.Server) -> None:
        coders = (TrackEventsRequest.FromString, TrackEventsResponse.SerializeToString)
        handlers = {
            "Ask": grpc.unary_unary_rpc_method_handler(self.ask, *coders),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect, *coders),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch, *coders),
            "Talk": grpc.stream_stream_rpc_method_handler(self.talk, *coders),
            "Undeclared": grpc.unary_unary_rpc_method_handler(_count, *coders),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class SampleStub:
    """Calls the methods; `raw` sends bytes as they are."""

    def __init__(self, channel: grpc.Channel) -> None:
        coders = (TrackEventsRequest.SerializeToString, TrackEventsResponse.FromString)
        self.ask = channel.unary_unary(f"/{SERVICE}/Ask", *coders)
        self.collect = channel.stream_unary(f"/{SERVICE}/Collect", *coders)
        self.watch = channel.unary_stream(f"/{SERVICE}/Watch", *coders)
        self.talk = channel.stream_stream(f"/{SERVICE}/Talk", *coders)
        self.undeclared = channel.unary_unary(f"/{SERVICE}/Undeclared", *coders)
        self.missing = channel.unary_unary(f"/{SERVICE}/Missing", *coders)
        raw = (bytes, TrackEventsResponse.FromString)
        self.ask_raw = channel.unary_unary(f"/{SERVICE}/Ask", *raw)
        self.talk_raw = channel.stream_stream(f"/{SERVICE}/Talk", *raw)


def failing(error: Exception) -> Sample:
    """Every method raises an error; streams of answers after one of them."""

    def fail(_request: object, _context: grpc.ServicerContext) -> TrackEventsResponse:
        raise error

    def fail_after_one(_request: object, _context: grpc.ServicerContext) -> Iterator[TrackEventsResponse]:
        yield TrackEventsResponse()
        raise error

    return Sample(fail, fail, fail_after_one, fail_after_one)


def reason(error: grpc.RpcError) -> str:
    """The ErrorInfo reason of a failed call."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # errors of calls are calls
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.domain == "brain"
    return str(info.reason)


def violations(error: grpc.RpcError) -> dict[str, str]:
    """Field -> reason of a failed call's BadRequest."""
    request = error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # errors of calls are calls
    assert status is not None
    assert status.details[0].Unpack(request)
    return {violation.field: violation.description for violation in request.field_violations}


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether the condition becomes true before the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)  # between looks at the condition
    return True
