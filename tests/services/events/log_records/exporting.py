"""An application that has OpenTelemetry, with the published SDK and exporter."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry._logs import Logger
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource as SdkResource

from services.events.application import SERVICES
from tests.clock import Clock
from tests.services.events.conftest import Service

LOGS = SERVICES[-1]
# Some time before the clock of the service.
NANOS = (Clock.micros - 60_000_000) * 1_000
DAY = TimeRange(start_time=Timestamp(seconds=1_320_969_600), end_time=Timestamp(seconds=1_321_056_000))
PERSON = {"user.id": "ann", "session.id": "s-1"}


@dataclass(frozen=True)
class Exporting:
    """A process that tracks by its logger; `seconds` is how long one batch may take, retries included."""

    port: int
    token: str | None
    seconds: float = 30.0
    options: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def logger(self, **resource: str) -> Iterator[Logger]:
        """Give a logger; what it was told is exported, or given up, at the end."""
        provider = LoggerProvider(SdkResource(resource), shutdown_on_exit=False)
        headers = (("authorization", f"Bearer {self.token}"),) if self.token else ()
        exporter = OTLPLogExporter(
            endpoint=f"http://127.0.0.1:{self.port}", headers=headers, timeout=self.seconds, **self.options
        )
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        try:
            yield provider.get_logger("shop.checkout", "1.2")
            provider.force_flush()
        finally:
            provider.shutdown()


def any_value(value: object) -> AnyValue:
    """Return a value as OTLP writes it."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, AnyValue):
        return value
    kinds = {str: "string_value", int: "int_value", float: "double_value", bytes: "bytes_value"}
    return AnyValue(**{kinds[type(value)]: value})  # type: ignore[arg-type]  # a kind and its value


def attributes(**named: object) -> list[KeyValue]:
    """Return attributes; two underscores stand for a dot."""
    return [KeyValue(key=name.replace("__", "."), value=any_value(value)) for name, value in named.items()]


def record(
    name: Any = "looked",  # noqa: ANN401 - attributes may have any name
    *,
    time: Any = NANOS,  # noqa: ANN401
    observed: Any = 0,  # noqa: ANN401
    body: Any = None,  # noqa: ANN401
    **named: Any,  # noqa: ANN401
) -> LogRecord:
    """Return a record of somebody's event."""
    return LogRecord(
        event_name=name,
        time_unix_nano=time,
        observed_time_unix_nano=observed,
        body=body,
        attributes=attributes(**named),
    )


def request(*records: LogRecord, **resource: object) -> ExportLogsServiceRequest:
    """Return an export of records from one resource."""
    logs = ResourceLogs(
        resource=Resource(attributes=attributes(**resource)), scope_logs=[ScopeLogs(log_records=records)]
    )
    return ExportLogsServiceRequest(resource_logs=[logs])


def export(service: Service, *records: LogRecord, **resource: object) -> ExportLogsServiceResponse:
    """Export records at once, and return the answer, which the published exporter keeps to itself."""
    return send(service.channel, request(*records, **resource))


def send(channel: Any, message: ExportLogsServiceRequest) -> ExportLogsServiceResponse:  # noqa: ANN401 - bytes go in
    """Make one call."""
    call = channel.unary_unary(
        f"/{LOGS}/Export",
        request_serializer=ExportLogsServiceRequest.SerializeToString,
        response_deserializer=ExportLogsServiceResponse.FromString,
    )
    answer: ExportLogsServiceResponse = call(message)
    return answer


def stored(service: Service) -> list[pb.Event]:
    """Return the events of all time, oldest first."""
    question = pb.QueryEventsRequest(order=pb.EVENT_ORDER_OLDEST_FIRST, page_size=1_000)
    return list(service.events.QueryEvents(question).events)


def counted(service: Service) -> tuple[int, int]:
    """Return how many events there are on the day, and of how many people."""
    [count] = service.events.CountEvents(pb.CountEventsRequest(time_range=DAY)).counts
    return count.events, count.users
