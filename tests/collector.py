"""A collector of OpenTelemetry's traces: takes what the real exporter sends, and keeps it."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Told:
    """A span as a collector knows it."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, str | int]
    failed: bool
    begun_nanos: int
    ended_nanos: int


@dataclass
class Collector(TraceServiceServicer):
    """What was sent so far. While `open` is not set it answers nobody."""

    address: str = ""
    spans: list[Told] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    metadata: list[tuple[str, str | bytes]] = field(default_factory=list)
    open: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def Export(  # noqa: N802 - its contract's name
        self, request: pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        self.open.wait()
        with self._lock:
            self.requests.append(request.SerializeToString())
            self.metadata += context.invocation_metadata()
            for resource in request.resource_spans:
                service = str(_values(resource.resource.attributes)["service.name"])
                self.spans += [_told(service, span) for scope in resource.scope_spans for span in scope.spans]
        return pb.ExportTraceServiceResponse()


@contextmanager
def collecting(
    address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()
    collector.open.set()
    server = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # theirs
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    collector.address = f"{address.rpartition(':')[0]}:{port}"
    server.start()
    try:
        yield collector
    finally:
        collector.open.set()
        server.stop(None).wait()


def _told(service: str, span: SpanMessage) -> Told:
    return Told(
        service,
        span.name,
        SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _values(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


def _values(attributes: object) -> dict[str, str | int]:
    return {each.key: _value(each.value) for each in attributes}  # type: ignore[attr-defined]  # KeyValues


def _value(value: AnyValue) -> str | int:
    kind = value.WhichOneof("value")
    assert kind in {"string_value", "int_value"}, f"no attribute here is a {kind}"
    return getattr(value, kind)  # type: ignore[no-any-return]  # one of the two
