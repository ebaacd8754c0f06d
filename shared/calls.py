"""One call from arrival to end: who makes it, what it may, and what is told of it.

The only place that aborts a call, writes its log line and counts its end.
"""

import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from shared import deadlines, wire
from shared.auth import Caller, Role, Verifier
from shared.database import translate
from shared.errors import (
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from shared.metrics import MethodMetrics
from shared.quotas import Quotas
from shared.request_id import METADATA_KEY, accepted_request_id, current_request_id
from shared.tracing import current_span

if TYPE_CHECKING:
    from shared.spans import Tracer

_logger = logging.getLogger("shared.calls")

# What an unverified caller is where authentication is switched off.
_ANYBODY = Caller("anonymous", frozenset({Role.ADMIN}))

# What another service answers while it is away; CANCELLED as it stops.
_UPSTREAM_AWAY = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
)

arrival_of_call: ContextVar[float] = ContextVar("arrival_of_call")
_caller: ContextVar[Caller] = ContextVar("caller", default=_ANYBODY)


@dataclass(frozen=True)
class CallRate:
    """How many calls a minute one caller may make, counted by each process for itself; 0 for any number."""

    quotas: Quotas
    per_minute: int

    def admit(self, caller: Caller) -> None:
        """Take one call from the caller's quota; raise ResourceExhausted (RATE_LIMITED) if none is left."""
        if not self.per_minute:
            return
        wait = self.quotas.take(caller.subject, self.per_minute, 1, time.monotonic())
        if wait:
            message = f"this token may make {self.per_minute:,} calls a minute"
            raise ResourceExhausted(message, "RATE_LIMITED", retry_seconds=wait)


@dataclass(frozen=True)
class Method:
    """What is known of a method before anybody calls it."""

    name: str
    # Anybody may call it, without a token.
    is_open: bool
    # Who may call it otherwise: nobody without one.
    role: Role | None
    handler: "grpc.RpcMethodHandler[Any, Any]"
    verifier: Verifier | None
    metrics: MethodMetrics
    rate: CallRate
    # Probes come every few seconds and would drown the rest: open methods are not traced.
    tracer: "Tracer | None" = None

    def decode(self, data: bytes) -> Any:  # noqa: ANN401 - whatever the contract says
        """Return the request; raise InvalidArgument that names the fields at fault."""
        self.metrics.received.inc()
        if self.handler.request_deserializer is None:
            return data
        try:
            return self.handler.request_deserializer(data)
        except DecodeError:
            # Generated code passes `Message.FromString`, bound to the message's class.
            message: Message = self.handler.request_deserializer.__self__  # type: ignore[attr-defined]
            raise InvalidArgument(wire.undecodable(data, message)) from None

    def decode_each(self, messages: Iterator[bytes]) -> Iterator[Any]:
        """Return the requests of a stream, decoded as they are asked for."""
        return map(self.decode, messages)

    def encode(self, response: Any) -> bytes:  # noqa: ANN401 - whatever the contract says
        """Return the bytes of a response and count it."""
        serializer = self.handler.response_serializer
        data = response if serializer is None else serializer(response)
        self.metrics.sent.inc()
        return data


class Call:
    """One call's state, of one thread or, for idle streams, of those that grpc calls back on."""

    __slots__ = (
        "_arrived",
        "_authorization",
        "_caller",
        "_context",
        "_finished",
        "_method",
        "_request_id",
        "_span",
    )

    def __init__(self, method: Method, context: grpc.ServicerContext) -> None:
        self._method = method
        self._context = context
        self._arrived = arrival_of_call.get()
        self._caller: Caller | None = None
        self._finished = False
        self._authorization = self._request_id = ""
        for key, value in context.invocation_metadata():
            if key == "authorization":
                self._authorization = str(value)
            elif key == METADATA_KEY:
                self._request_id = str(value)
        self._request_id = accepted_request_id(self._request_id)
        current_request_id.set(self._request_id)
        # Told to every caller: those that sent none can quote it, too.
        context.set_trailing_metadata(((METADATA_KEY, self._request_id),))
        self._span = None
        if method.tracer is not None and not method.is_open:
            metadata = context.invocation_metadata()
            self._span = method.tracer.of_served_call(method.name, metadata, self._arrived)
            current_span.set(self._span)
        deadlines.set_remaining(context.time_remaining())

    def authorize(self, now: float) -> None:
        """Raise Unauthenticated, PermissionDenied or ResourceExhausted unless the caller may call it now."""
        if self._method.is_open:
            return
        role = self._method.role
        if role is None:
            raise PermissionDenied("this method declares no role, so nobody may call it", "ROLE_UNDECLARED")
        verifier = self._method.verifier
        caller = _ANYBODY if verifier is None else verifier.verify(_bearer(self._authorization), now)
        self._caller = caller
        _caller.set(caller)
        if not caller.may(role):
            raise PermissionDenied(f"this needs the role {role.name.lower()}", "ROLE_MISSING")
        self._method.rate.admit(caller)

    def abort(self, error: Exception) -> NoReturn:
        """End the call with what `error` means to the caller; raises what grpc wants raised."""
        context = self._context
        if isinstance(error, grpc.RpcError) and not context.is_active():
            self.finish(ended_early(context))
            raise error  # grpc made it, and knows it again
        known = public_error(error)
        if known is None:
            self.finish(grpc.StatusCode.INTERNAL, error)
            status = self._internal_error()
        else:
            self.finish(known.code, known)
            status = known.to_status()
        code, details = self._tell(status)
        context.abort(code, details)

    def announce(self, error: ServiceError) -> None:
        """Set the status that the end of a stream will carry."""
        code, details = self._tell(error.to_status())
        self._context.set_code(code)
        self._context.set_details(details)

    def _tell(self, error: status_pb2.Status) -> tuple[grpc.StatusCode, str]:
        """Set the metadata that an error ends with; return its code and message."""
        status = rpc_status.to_status(error)
        request_id = (METADATA_KEY, self._request_id)
        self._context.set_trailing_metadata((request_id, *status.trailing_metadata))
        return status.code, status.details

    def _internal_error(self) -> status_pb2.Status:
        status = status_pb2.Status(code=code_pb2.INTERNAL, message="internal error")
        # Finds the trace in the log.
        status.details.add().Pack(error_details_pb2.RequestInfo(request_id=self._request_id))
        return status

    def succeed(self) -> None:
        """End the call with the code its handler set, OK where it set none and the client still waits."""
        if self._context.is_active():
            code = self._context.code()  # type: ignore[attr-defined]  # the stubs lack it
            self.finish(code or grpc.StatusCode.OK)
        else:
            self.finish(ended_early(self._context))

    def finish(self, code: grpc.StatusCode, error: Exception | None = None) -> None:
        """Count the end and log it, the first time; later ones change nothing."""
        if self._finished:
            return
        self._finished = True
        seconds = time.perf_counter() - self._arrived
        self._method.metrics.handled[code].inc()
        self._method.metrics.seconds.observe(seconds)
        if self._span is not None:
            self._span.end_served(code)
        self._log(code, seconds, error)

    def _log(self, code: grpc.StatusCode, seconds: float, error: Exception | None) -> None:
        unexpected = error is not None and not isinstance(error, ServiceError)
        # Probes come every few seconds and would drown the rest.
        level = logging.ERROR if unexpected else logging.DEBUG if self._method.is_open else logging.INFO
        if not _logger.isEnabledFor(level):
            return
        fields: dict[str, object] = {
            "method": self._method.name,
            "code": code.name,
            "duration_ms": round(seconds * 1_000, 3),
            "request_id": self._request_id,
            "caller": self._caller.subject if self._caller else None,
        }
        if self._span is not None:  # known to this thread, too, unless an idle stream is ended by another
            fields["trace_id"] = self._span.trace_id
        if isinstance(error, ServiceError):
            fields["reason"] = error.reason
            if error.__cause__ is not None:
                fields["cause"] = type(error.__cause__).__name__  # its text may quote what people sent
        _logger.log(level, "call", extra=fields, exc_info=error if unexpected else None)


def current_caller() -> Caller:
    """Return who makes the call that this thread handles."""
    return _caller.get()


def public_error(error: Exception) -> ServiceError | None:
    """Return what a caller may know of an error, or None where it is a fault of ours."""
    if isinstance(error, ServiceError):
        return error
    known = _of_upstream(error) if isinstance(error, grpc.RpcError) else translate(error)
    if known is not None:
        known.__cause__ = error
    return known


def _of_upstream(error: Exception) -> ServiceError | None:
    if not isinstance(error, grpc.Call):  # as errors of a client's call are
        return None
    if error.code() in _UPSTREAM_AWAY:
        return Unavailable("a service this one needs is away", "UPSTREAM_UNAVAILABLE")
    # Without a status of its own it was this side's gRPC: a message too large, which waiting does not mend.
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and rpc_status.from_call(error):
        busy = "a service this one needs takes no more at the moment"
        return ResourceExhausted(busy, "UPSTREAM_BUSY", retry_seconds=1)
    return None


def ended_early(context: grpc.ServicerContext) -> grpc.StatusCode:
    """Return how a call ended that its client did not wait for."""
    return grpc.StatusCode.CANCELLED if context.time_remaining() else grpc.StatusCode.DEADLINE_EXCEEDED


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if authorization and scheme.lower() != "bearer":
        raise Unauthenticated("authorization must be `Bearer` and a token", "TOKEN_INVALID")
    return token.strip()
