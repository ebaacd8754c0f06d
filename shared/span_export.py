"""How spans reach a collector: in batches, beside the calls, a bounded number of them.

Nothing waits for a collector but the end of the process, and that not for long.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import Counter

from shared.limits import Limit
from shared.spans import Tracer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from shared.config import ServerSettings

_logger = logging.getLogger(__name__)

# Waiting and being sent; about 2 KiB each.
_MAXIMUM_SPANS: Final = 4_096
_BATCH_SPANS: Final = 512
_BATCH_MILLISECONDS: Final = 1_000
# For one batch, retries included.
_SEND_SECONDS: Final = 5
_CLOSE_SECONDS: Final = 3.0


def open_exporting_tracer(settings: "ServerSettings", service: str, registry: "CollectorRegistry") -> Tracer:
    """Return a tracer whose spans go to the collector that the settings name."""
    tls = settings.traces_tls
    exporter = OTLPSpanExporter(
        endpoint=settings.traces_address,
        insecure=tls is None,
        credentials=None if tls is None else tls.credentials,
        timeout=_SEND_SECONDS,
    )
    outbox = _Outbox(_Sender(exporter), registry)
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.traces_sample_ratio)),
        resource=_resource(service),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(outbox)
    return Tracer(provider.get_tracer("analytics-brain"), outbox.close)


def _resource(service: str) -> Resource:
    return Resource.create(
        {
            "service.name": service,
            "service.namespace": "analytics-brain",
            "service.instance.id": str(uuid4()),
        }
    )


class _Sender(SpanExporter):
    """Sends batches and tells when the collector goes and comes back, not every batch of an outage."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._closed = Event()
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        if self._closed.is_set():
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            _logger.warning("the collector takes no traces")
        elif self._failing and not failed:
            _logger.info("the collector takes traces again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """Give up what is being sent; all further batches fail."""
        if not self._closed.is_set():
            self._closed.set()
            self._exporter.shutdown()


class _Outbox(SpanProcessor, SpanExporter):
    """Takes spans until so many wait or are being sent; counts what becomes of each."""

    def __init__(self, sender: _Sender, registry: "CollectorRegistry") -> None:
        spans = Counter(
            "trace_spans_total",
            "Spans that ended: exported, refused by the collector or not reaching it (failed), or dropped "
            "because too many waited.",
            ("outcome",),
            registry=registry,
        )
        self._outcomes = {outcome: spans.labels(outcome) for outcome in ("exported", "failed", "dropped")}
        self._room = Limit(_MAXIMUM_SPANS)
        self._sender = sender
        self._closed = Event()
        self._batches = BatchSpanProcessor(
            self,
            max_queue_size=_MAXIMUM_SPANS,
            schedule_delay_millis=_BATCH_MILLISECONDS,
            max_export_batch_size=_BATCH_SPANS,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that ended."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._closed.is_set() or not self._room.enter():
            self._outcomes["dropped"].inc()
            return
        self._batches.on_end(span)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; called by the thread of the batches."""
        result = SpanExportResult.FAILURE
        with suppress(Exception):  # a fault of the exporter's ends no thread, and counts as failed
            result = self._sender.export(spans)
        for _ in spans:
            self._room.leave()
        self._outcomes["exported" if result is SpanExportResult.SUCCESS else "failed"].inc(len(spans))
        return result

    def close(self) -> None:
        """Send what waits, for at most three seconds, then give up the rest."""
        self._closed.set()
        sending = Thread(target=self._batches.shutdown, name="traces-closing", daemon=True)
        sending.start()
        sending.join(_CLOSE_SECONDS)
        self._sender.shutdown()
        sending.join(_CLOSE_SECONDS)
