"""Spans of calls and requests, named as OpenTelemetry's semantic conventions say.

No attribute holds what people sent: neither payloads, ids, tokens nor messages of errors. So there is no path
of a URL either, in which ids stand; its route tells what was asked.
https://opentelemetry.io/docs/specs/semconv/rpc/grpc/, …/http/http-spans/
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Final

import grpc
import grpc.aio
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.request_id import current_request_id
from shared.tracing import call_span

_W3C: Final = TraceContextTextMapPropagator()
_HEADERS: Final = frozenset(_W3C.fields)

# A server answers others of these because of its caller.
_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_FIRST_HTTP_FAULT: Final = 500


class Span:
    """Something under way that a trace tells of."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What tells another service of this span."""
        return _headers(self._span)

    def of_call(self, method: str, address: str) -> "Span":
        """Begin the span of a call to another service at a host:port or the like."""
        attributes = {**_of_rpc(method), **_of_server(address)}
        return self._child(method.removeprefix("/"), SpanKind.CLIENT, attributes)

    def end_asked(self, code: grpc.StatusCode) -> None:
        """End the span of a call to another service."""
        self._end_rpc(code, failed=code is not grpc.StatusCode.OK)

    def end_served(self, code: grpc.StatusCode) -> None:
        """End the span of a call that was served."""
        self._end_rpc(code, failed=code in _SERVER_FAULTS)

    def end_request(self, method: str, route: str | None, code: int, *, failed: bool) -> None:
        """End the span of an HTTP request, by its template of a path; `code` is 0 where none was sent."""
        if route is not None:
            self._span.update_name(f"{method} {route}")
            self._span.set_attribute("http.route", route)
        if code:
            self._span.set_attribute("http.response.status_code", code)
        self.end(failed=failed or code >= _FIRST_HTTP_FAULT)

    def end(self, *, failed: bool) -> None:
        """End the span."""
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _end_rpc(self, code: grpc.StatusCode, *, failed: bool) -> None:
        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        self.end(failed=failed)

    def _child(self, name: str, kind: SpanKind, attributes: Mapping[str, str | int]) -> "Span":
        context = trace.set_span_in_context(self._span)
        return Span(self._tracer, self._tracer.start_span(name, context, kind, attributes))


class Round:
    """One time something is done in the background: a trace if another service is asked, else nothing."""

    __slots__ = ("_begun_nanos", "_lock", "_name", "_span", "_tracer")

    def __init__(self, tracer: "Tracer", name: str) -> None:
        self._tracer = tracer
        self._name = name
        self._begun_nanos = time.time_ns()
        self._lock = Lock()  # a round may ask from several threads at once
        self._span: Span | None = None

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty while nobody was asked."""
        return "" if self._span is None else self._span.trace_id

    def of_call(self, method: str, address: str) -> Span:
        """Begin the span of a call to another service."""
        with self._lock:
            if self._span is None:
                self._span = self._tracer.begin(self._name, self._begun_nanos)
        return self._span.of_call(method, address)

    def end(self, *, failed: bool) -> None:
        """End the span, if there is one."""
        if self._span is not None:
            self._span.end(failed=failed)


class Tracer:
    """Begins the spans of one server. `close` sends what is left, within a bounded time."""

    def __init__(self, tracer: trace.Tracer, close: Callable[[], None]) -> None:
        self._tracer = tracer
        self.close = close

    def of_served_call(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]], arrived: float
    ) -> Span:
        """Begin the span of a call by its `/package.Service/Method`; `arrived` is of time.perf_counter."""
        begun = time.time_ns() - round((time.perf_counter() - arrived) * 1e9)
        return self._served(method.removeprefix("/"), _of_rpc(method), metadata, begun)

    def of_request(self, method: str, scheme: str, headers: Iterable[tuple[str, str]]) -> Span:
        """Begin the span of an HTTP request; its route is told at its end."""
        attributes: dict[str, str | int] = {"http.request.method": method, "url.scheme": scheme}
        return self._served(method, attributes, headers, time.time_ns())

    def of_round(self, name: str) -> Round:
        """Begin what is done in the background."""
        return Round(self, name)

    def of_async_calls(self, address: str) -> "AsyncCallSpans":
        """Return what gives each unary call of an asynchronous channel to `address` its span."""
        return AsyncCallSpans(address)

    def begin(self, name: str, begun_nanos: int) -> Span:
        """Begin a trace of this server's own, at a Unix time in nanoseconds."""
        attributes = {"request_id": current_request_id.get()}
        span = self._tracer.start_span(name, Context(), attributes=attributes, start_time=begun_nanos)
        return Span(self._tracer, span)

    def _served(
        self,
        name: str,
        attributes: Mapping[str, str | int],
        headers: Iterable[tuple[str, str | bytes]],
        begun_nanos: int,
    ) -> Span:
        context = _W3C.extract({key: str(value) for key, value in headers if key in _HEADERS}, Context())
        span = self._tracer.start_span(
            name,
            context,
            SpanKind.SERVER,
            {**attributes, "request_id": current_request_id.get()},
            start_time=begun_nanos,
        )
        return Span(self._tracer, span)


class AsyncCallSpans(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives each unary call of a channel to `address` a span, where it is part of something traced."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def intercept_unary_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: object,
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add a span."""
        span = call_span(_text(client_call_details.method), self._address)
        if span is None:
            return await continuation(client_call_details, request)
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()), *span.headers)
        code = grpc.StatusCode.CANCELLED
        try:
            call = await continuation(_with(client_call_details, metadata), request)
            try:
                code = await call.code()
            except asyncio.CancelledError:  # who gave up holds this task, and not the call
                call.cancel()
                raise
        finally:
            span.end_asked(code)
        return call


def _of_server(address: str) -> dict[str, str | int]:
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "," not in host:
        return {"server.address": host, "server.port": int(port)}
    return {"server.address": address}


def headers_of_program() -> tuple[tuple[str, str], ...]:
    """Return what tells of the span that this program, traced by itself, is in; nothing outside of one."""
    span = trace.get_current_span()
    return _headers(span) if span.get_span_context().is_valid else ()


def _headers(span: trace.Span) -> tuple[tuple[str, str], ...]:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return tuple(carrier.items())


def _with(given: grpc.aio.ClientCallDetails, metadata: grpc.aio.Metadata) -> grpc.aio.ClientCallDetails:
    return grpc.aio.ClientCallDetails(
        given.method, given.timeout, metadata, given.credentials, given.wait_for_ready
    )


def _text(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method


def _of_rpc(method: str) -> dict[str, str | int]:
    service, _, name = method.removeprefix("/").partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
