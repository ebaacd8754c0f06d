"""Streams that mostly wait and hold no thread: grpc's non-blocking handlers, such as health's Watch.

Such a handler takes a third argument, `send`, called from any thread: a response sends it, None ends the
stream. It is marked by the attribute `experimental_non_blocking`.
"""

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

import grpc

from shared.calls import Call, Method, ended_early
from shared.lanes import Lane
from shared.stalls import Stalls, Wait

Send = Callable[[Any], None]


class IdleStreams:
    """The idle streams of one server that are open now."""

    def __init__(self, now: Callable[[], float], stalls: Stalls) -> None:
        self._now = now
        self._stalls = stalls
        self._lock = Lock()
        self._open: set[_IdleStream] = set()

    def wrap(self, method: Method, lane: Lane) -> Callable[..., None]:
        """Return a handler that begins and ends like every other call."""
        behaviour: Any = method.handler.unary_stream  # the stubs know only handlers of two arguments

        def respond(requests: Iterator[bytes], context: grpc.ServicerContext, send: Send) -> None:
            stream = _IdleStream(method, lane, context, send)
            with self._lock:
                self._open.add(stream)
            if not context.add_callback(lambda: self._ended(stream)):
                self._ended(stream)
                return
            try:
                stream.call.authorize(self._now())
                request = Wait(self._stalls, lane.silence_seconds, context.cancel).only(requests)
                behaviour(method.decode(request), context, stream.send)
            except Exception as error:  # noqa: BLE001 - every error is translated, and logged unless known
                stream.call.abort(error)

        return respond

    def end_all(self) -> None:
        """End every open stream with UNAVAILABLE, so that its client turns to another replica."""
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            stream.end(grpc.StatusCode.UNAVAILABLE)

    def _ended(self, stream: "_IdleStream") -> None:
        with self._lock:
            self._open.discard(stream)
        stream.lane.limit.leave()
        stream.call.finish(ended_early(stream.context))


class _IdleStream:
    def __init__(self, method: Method, lane: Lane, context: grpc.ServicerContext, send: Send) -> None:
        self.call = Call(method, context)
        self.context = context
        self.lane = lane
        self._method = method
        self._send = send

    def send(self, response: Any) -> None:  # noqa: ANN401 - whatever the contract says
        """Send a response; None ends the stream."""
        if response is not None:
            self._send(self._method.encode(response))
        elif self.context.is_active():
            self.call.succeed()
            self._send(None)

    def end(self, code: grpc.StatusCode) -> None:
        """End the stream with a code, unless it has ended."""
        if self.context.is_active():
            self.context.set_code(code)
            self.call.succeed()
            self._send(None)
