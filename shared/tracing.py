"""The trace that a call is part of. Loads no OpenTelemetry unless the settings name a collector.

Whoever begins something (a server's call, a request at the gateway, a round in the background) opens a span
and leaves it in `current_span`; what is asked of others meanwhile finds it there.
"""

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from shared.config import ServerSettings
    from shared.spans import Span, Tracer


class Parent(Protocol):
    """What a call to another service can be part of."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty while there is no trace yet."""

    def of_call(self, method: str, address: str) -> "Span":
        """Begin the span of a call to another service, by its `/package.Service/Method`."""


# Of what this thread, or task, works for; None outside of it, and where nothing is traced.
current_span: ContextVar[Parent | None] = ContextVar("current_span", default=None)


def current_trace_id() -> str:
    """Return the id of the trace that this thread works for; empty where there is none."""
    span = current_span.get()
    return "" if span is None else span.trace_id


def call_span(method: str, address: str) -> "Span | None":
    """Begin the span of a call to another service; None where nothing is traced."""
    parent = current_span.get()
    return None if parent is None else parent.of_call(method, address)


def callers_context() -> tuple[tuple[str, str], ...]:
    """Return the headers that tell the trace of a program which traces itself: for clients within it."""
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from shared.spans import headers_of_program  # noqa: PLC0415 - most programs have no OpenTelemetry

    return headers_of_program()


def open_tracer(settings: "ServerSettings", service: str, registry: "CollectorRegistry") -> "Tracer | None":
    """Return what begins the traces of a server; None where the settings name no collector.

    `service` is its name in traces. `registry` counts what becomes of spans.
    """
    if not settings.traces_address:
        return None
    from shared.span_export import open_exporting_tracer  # noqa: PLC0415 - loaded only where it is used

    return open_exporting_tracer(settings, service, registry)
