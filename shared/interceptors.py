"""The one server interceptor: wraps every handler so that all calls begin and end alike.

Messages are decoded and encoded here, in the thread of the call: after authentication, so that strangers
cost little, and inside the time that is measured. To grpc every handler takes a stream of requests: it would
wait without end for the message of a unary call, before anything here could look at the caller.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from shared.auth import Verifier, is_open, required_role
from shared.calls import Call, CallRate, Method, arrival_of_call
from shared.errors import ResourceExhausted
from shared.idle_streams import IdleStreams, Send
from shared.lanes import Lane, Lanes
from shared.metrics import CallMetrics, call_type
from shared.stalls import Stalls, Wait, client_silent

if TYPE_CHECKING:
    from shared.spans import Tracer


@dataclass(frozen=True)
class Bounds:
    """What all calls of a server share: where they run, and who watches over them."""

    lanes: Lanes
    stalls: Stalls
    rate: CallRate
    # Begins the traces; None where nothing is traced.
    tracer: "Tracer | None" = None


@dataclass(frozen=True)
class _Wrapped:
    handler: "grpc.RpcMethodHandler[Any, Any]"
    refusal: "grpc.RpcMethodHandler[Any, Any]"
    method: Method
    lane: Lane


class CallInterceptor(grpc.ServerInterceptor):
    """Gives each call a request id, access control, one family of errors, a log line, metrics and a span.

    Without a verifier every caller is an administrator. `now` is in Unix seconds.
    """

    def __init__(
        self,
        verifier: Verifier | None,
        metrics: CallMetrics,
        bounds: Bounds,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = verifier
        self._metrics = metrics
        self._bounds = bounds
        self._now = now
        self._wrapped: dict[str, _Wrapped] = {}
        self._idle = IdleStreams(now, bounds.stalls)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "grpc.RpcMethodHandler[Any, Any] | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the wrapped handler; None for unknown methods, which grpc then answers itself."""
        name = handler_call_details.method
        wrapped = self._wrapped.get(name)
        if wrapped is None:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[name] = self._wrap(name, handler)
        wrapped.method.metrics.started.inc()
        arrival_of_call.set(time.perf_counter())
        return wrapped.handler if wrapped.lane.limit.enter() else wrapped.refusal

    def end_idle_streams(self) -> None:
        """End streams that only wait, with UNAVAILABLE; a stopping server would wait for them in vain."""
        self._idle.end_all()

    def _wrap(self, name: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> _Wrapped:
        kind = call_type(
            request_streaming=handler.request_streaming, response_streaming=handler.response_streaming
        )
        metrics = self._metrics.of_method(name, kind)
        method = Method(
            name,
            is_open(name),
            required_role(name),
            handler,
            self._verifier,
            metrics,
            self._bounds.rate,
            self._bounds.tracer,
        )
        lane = self._bounds.lanes.of_method(name)
        refusal = _on(self._bounds.lanes.for_refusals(), _refuse(method))
        return _Wrapped(
            self._wrapped_handler(method, lane), grpc.stream_unary_rpc_method_handler(refusal), method, lane
        )

    def _wrapped_handler(self, method: Method, lane: Lane) -> "grpc.RpcMethodHandler[Any, Any]":
        # No (de)serializers: grpc then hands over and takes the bytes.
        handler = method.handler
        if handler.unary_unary is not None:
            respond = _one_response(method, lane, self._bounds.stalls, self._now)
            return grpc.stream_unary_rpc_method_handler(_on(lane.pool, respond))
        if getattr(handler.unary_stream, "experimental_non_blocking", False):
            stream = self._idle.wrap(method, lane)
        else:
            stream = _stream(method, lane, self._bounds.stalls, self._now)
        stream.experimental_non_blocking = True  # type: ignore[attr-defined]  # how grpc knows them
        return grpc.stream_stream_rpc_method_handler(_on(lane.pool, stream))


def _on(pool: object, respond: Callable[..., Any]) -> Callable[..., Any]:
    respond.experimental_thread_pool = pool  # type: ignore[attr-defined]  # how grpc knows where to run it
    return respond


def _refuse(method: Method) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    def respond(_requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        Call(method, context).abort(
            ResourceExhausted("too many calls are running or waiting here", "OVERLOADED", retry_seconds=1)
        )

    return respond


def _one_response(
    method: Method, lane: Lane, stalls: Stalls, now: Callable[[], float]
) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    behaviour = method.handler.unary_unary
    assert behaviour is not None, "only for this arity"

    def respond(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        call = Call(method, context)
        try:
            call.authorize(now())
            request = Wait(stalls, lane.silence_seconds, context.cancel).only(requests)
            data = method.encode(behaviour(method.decode(request), context))
        except Exception as error:  # noqa: BLE001 - every error is translated, and logged unless known
            call.abort(error)
        finally:
            lane.limit.leave()
        call.succeed()
        return data

    return respond


def _stream(method: Method, lane: Lane, stalls: Stalls, now: Callable[[], float]) -> Callable[..., None]:
    """Return a handler that sends its responses itself, so that a silent client can be sent a status."""
    behaviour = _responses(method)

    def respond(requests: Iterator[bytes], context: grpc.ServicerContext, send: Send) -> None:
        def end() -> None:
            """Let the thread go on that waits for a request, and tell its client why."""
            call.announce(client_silent(lane.silence_seconds))
            send(None)

        call = Call(method, context)
        receiving = Wait(stalls, lane.silence_seconds, end)
        # A status would wait behind the responses that nobody reads.
        sending = Wait(stalls, lane.silence_seconds, context.cancel)
        try:
            call.authorize(now())
            with lane.streams.one_more("streams", "TOO_MANY_STREAMS"):
                _send_all(behaviour(receiving, requests, context), method.encode, sending, context, send)
        except Exception as error:  # noqa: BLE001 - see above
            if not receiving.stalled:
                call.abort(error)
            call.finish(grpc.StatusCode.DEADLINE_EXCEEDED, error)
            return
        finally:
            lane.limit.leave()
        call.succeed()
        send(None)

    return respond


def _responses(method: Method) -> Callable[[Wait, Iterator[bytes], grpc.ServicerContext], Iterator[Any]]:
    """Return what decodes requests and calls the handler, for the arities that stream either way."""
    handler = method.handler
    if (many := handler.stream_stream) is not None:
        return lambda wait, requests, context: many(method.decode_each(wait.each(requests)), context)
    if (reads := handler.unary_stream) is not None:
        return lambda wait, requests, context: reads(method.decode(wait.only(requests)), context)
    collects = handler.stream_unary
    assert collects is not None, "a handler has one of four arities"
    return lambda wait, requests, context: iter((collects(method.decode_each(wait.each(requests)), context),))


def _send_all(
    responses: Iterator[Any],
    encode: Callable[[Any], bytes],
    sending: Wait,
    context: grpc.ServicerContext,
    send: Send,
) -> None:
    """Send responses until there is no more, or nobody to take them."""
    for response in responses:
        data = encode(response)
        with sending:
            send(data)
        if not context.is_active():
            break
    if isinstance(responses, Generator):
        responses.close()
