"""The one server interceptor: wraps every handler so that all calls begin and end alike.

Messages are decoded and encoded here, in the thread of the call: after authentication, so that strangers
cost little, and inside the time that is measured.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from shared.auth import Caller, Verifier, is_open, required_role
from shared.calls import Call, Method, arrival_of_call, caller_of_call, ended_early
from shared.idle_streams import IdleStreams
from shared.metrics import CallMetrics, call_type


def current_caller() -> Caller:
    """Return who made the call this thread serves; raise LookupError outside of one, or in an open one."""
    return caller_of_call.get()


class CallInterceptor(grpc.ServerInterceptor):
    """Gives each call a request id, access control, one family of errors, a log line and metrics.

    Without a verifier every caller is an administrator. `now` is in Unix seconds.
    """

    def __init__(
        self, verifier: Verifier | None, metrics: CallMetrics, now: Callable[[], float] = time.time
    ) -> None:
        self._verifier = verifier
        self._metrics = metrics
        self._now = now
        self._wrapped: dict[str, tuple[grpc.RpcMethodHandler[Any, Any], Method]] = {}
        self._idle = IdleStreams(now)

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
            wrapped = self._wrap(name, handler)
        handler, method = wrapped
        method.metrics.started.inc()
        arrival_of_call.set(time.perf_counter())
        return handler

    def end_idle_streams(self) -> None:
        """End streams that only wait, with UNAVAILABLE; a stopping server would wait for them in vain."""
        self._idle.end_all()

    def _wrap(
        self, name: str, handler: "grpc.RpcMethodHandler[Any, Any]"
    ) -> tuple["grpc.RpcMethodHandler[Any, Any]", Method]:
        kind = call_type(
            request_streaming=handler.request_streaming, response_streaming=handler.response_streaming
        )
        metrics = self._metrics.of_method(name, kind)
        method = Method(name, is_open(name), required_role(name), handler, self._verifier, metrics)
        wrapped = self._wrapped[name] = self._wrapped_handler(method), method
        return wrapped

    def _wrapped_handler(self, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
        # No (de)serializers: grpc then hands over and takes the bytes.
        handler = method.handler
        if handler.unary_unary is not None:
            respond = _one_response(method, handler.unary_unary, method.decode, self._now)
            return grpc.unary_unary_rpc_method_handler(respond)
        if handler.stream_unary is not None:
            respond = _one_response(method, handler.stream_unary, method.decode_each, self._now)
            return grpc.stream_unary_rpc_method_handler(respond)
        if handler.stream_stream is not None:
            stream = _many_responses(method, handler.stream_stream, method.decode_each, self._now)
            return grpc.stream_stream_rpc_method_handler(stream)
        assert handler.unary_stream is not None, "a handler has one of four arities"
        if getattr(handler.unary_stream, "experimental_non_blocking", False):
            return grpc.unary_stream_rpc_method_handler(self._idle.wrap(method))
        stream = _many_responses(method, handler.unary_stream, method.decode, self._now)
        return grpc.unary_stream_rpc_method_handler(stream)


def _one_response(
    method: Method,
    behaviour: Callable[[Any, grpc.ServicerContext], Any],
    decode: Callable[[Any], Any],
    now: Callable[[], float],
) -> Callable[[Any, grpc.ServicerContext], bytes]:
    def respond(request: Any, context: grpc.ServicerContext) -> bytes:  # noqa: ANN401 - bytes, or many
        call = Call(method, context)
        try:
            call.authorize(now())
            data = method.encode(behaviour(decode(request), context))
        except Exception as error:  # noqa: BLE001 - every error is translated, and logged unless known
            call.abort(error)
        call.succeed()
        return data

    return respond


def _many_responses(
    method: Method,
    behaviour: Callable[[Any, grpc.ServicerContext], Iterator[Any]],
    decode: Callable[[Any], Any],
    now: Callable[[], float],
) -> Callable[[Any, grpc.ServicerContext], Iterator[bytes]]:
    def respond(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:  # noqa: ANN401 - see above
        call = Call(method, context)
        try:
            call.authorize(now())
            for response in behaviour(decode(request), context):
                yield method.encode(response)
        except GeneratorExit:
            call.finish(ended_early(context))
            raise
        except Exception as error:  # noqa: BLE001 - see above
            call.abort(error)
        call.succeed()

    return respond
