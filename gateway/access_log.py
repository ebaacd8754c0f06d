"""One request from arrival to end: its id, its line in the log, its measures, its span, the last resort."""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from gateway import failures
from shared.request_id import METADATA_KEY, accepted_request_id, current_request_id
from shared.tracing import current_span

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.measures import Measures
    from shared.spans import Span, Tracer

_logger = logging.getLogger("gateway.requests")

# Methods are free text: whatever else is sent shall not make new labels.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES = frozenset({"/healthz"})
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class AccessLog:
    """Wraps an application. Queries, bodies and ids of people are in no line."""

    application: "ASGIApp"
    measures: "Measures"
    # Begins the traces; None where nothing is traced.
    tracer: "Tracer | None" = None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request, or whatever else the server asks."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        began = time.perf_counter()
        current_request_id.set(accepted_request_id(Headers(scope=scope).get(METADATA_KEY, "")))
        span = self._span(scope)
        answer = _Answer(send)
        fault: Exception | None = None
        try:
            await self.application(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 - whatever it is, the log has it and the caller an answer
            fault = error
            if answer.code is None:
                await failures.response(failures.INTERNAL)(scope, receive, answer.send)
        finally:  # also of one that is given up, as the server stops
            self._finish(scope, answer.code or 0, time.perf_counter() - began, fault)
            if span is not None:
                route = getattr(scope.get("route"), "path", None)
                span.end_request(
                    _method(scope), route, answer.code or 0, failed=fault is not None or not answer.code
                )

    def _span(self, scope: "Scope") -> "Span | None":
        if self.tracer is None or scope["path"] in _PROBES:
            return None
        span = self.tracer.of_request(_method(scope), scope["scheme"], Headers(scope=scope).items())
        current_span.set(span)
        return span

    def _finish(self, scope: "Scope", code: int, seconds: float, fault: Exception | None) -> None:
        method = _method(scope)
        route = getattr(scope.get("route"), "path", "unmatched")
        self.measures.requests.labels(method, route, str(code)).inc()
        self.measures.seconds.labels(method, route).observe(seconds)
        level = logging.ERROR if fault else logging.DEBUG if route in _PROBES else logging.INFO
        fields = {
            "method": method,
            "route": route,
            "code": code,
            "duration_ms": round(seconds * 1_000, 3),
            "request_id": current_request_id.get(),
            "caller": scope.get("state", {}).get("caller"),
        }
        _logger.log(level, "request", extra=fields, exc_info=fault)


def _method(scope: "Scope") -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


class _Answer:
    """Notes the code of an answer on its way out and adds what every answer carries."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self.code: int | None = None

    async def send(self, message: "Message") -> None:
        """Send one message of the answer."""
        if message["type"] == "http.response.start":
            self.code = message["status"]
            headers = MutableHeaders(scope=message)
            headers[METADATA_KEY] = current_request_id.get()
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
