"""Log records of OpenTelemetry: Export beside TrackEvents of the same events, by turns into emptied tables.

A thousand records an export, about eleven attributes each, with ids of their own (`log.record.uid`) and
without.
"""

import json
import time
from statistics import median
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from benchmarks import data, measuring, sending
from benchmarks.report import Line, per_second

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import grpc
    from brain.events.v1.events_pb2 import Event

    from benchmarks.data import Columns
    from benchmarks.measuring import Cost
    from benchmarks.stack import ServiceProcess, Stack

DATABASE: Final = "log_records"
EXPORT: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
RESOURCE: Final = {"service.name": "shop", "host.name": "web-3", "telemetry.sdk.name": "opentelemetry"}
_EMPTY: Final = b"TRUNCATE events.events, events.event_deltas, events.event_hours, events.event_days"
_KINDS: Final = {str: "string_value", int: "int_value", float: "double_value"}


def run(stack: "Stack", events: int, rounds: int) -> list[Line]:
    """Measure `events` events in each of `rounds` rounds, after one that warms the caches of users."""
    stack.create(DATABASE)
    with stack.service(DATABASE) as service, service.channel() as channel:
        made = data.recent(events, time.time_ns() // 1000)
        tracked, sender = sending.batches(made), sending.Sender(service, channel)
        contenders = [
            lambda: sender.send(tracked),
            _exporting(service, channel, _exports(made, with_ids=True)),
            _exporting(service, channel, _exports(made, with_ids=False)),
        ]
        costs = [[_cost(stack, service, each) for each in contenders] for _ in range(rounds + 1)][1:]
    stack.drop(DATABASE)
    beside, *exported = [list(column) for column in zip(*costs, strict=True)]
    names = ("Export, records with ids", "Export, records without")
    return [_line(name, events, each, beside) for name, each in zip(names, exported, strict=True)]


def _exporting(
    service: "ServiceProcess", channel: "grpc.Channel", requests: list[bytes]
) -> "Callable[[], None]":
    call: grpc.UnaryUnaryMultiCallable[bytes, ExportLogsServiceResponse] = channel.unary_unary(
        EXPORT, request_serializer=None, response_deserializer=ExportLogsServiceResponse.FromString
    )

    def export() -> None:
        replies = sending.replies_of(call, requests, service.metadata)
        refused = [reply.partial_success.error_message for reply in replies if reply.ByteSize()]
        if refused:
            raise RuntimeError(f"{len(refused)} exports were refused in part, the first: {refused[0]}")

    return export


def _exports(events: "Columns", *, with_ids: bool) -> list[bytes]:
    resource = Resource(attributes=_attributes(RESOURCE))
    return [
        ExportLogsServiceRequest(
            resource_logs=[ResourceLogs(resource=resource, scope_logs=[_scope(part, with_ids=with_ids)])]
        ).SerializeToString()
        for part in events.parts(sending.BATCH)
    ]


def _scope(events: "Columns", *, with_ids: bool) -> ScopeLogs:
    return ScopeLogs(log_records=[_record(event, with_ids=with_ids) for event in data.messages(events)])


def _record(event: "Event", *, with_ids: bool) -> LogRecord:
    named = {
        "user.id": event.user_id,
        "session.id": event.session_id,
        "url.path": event.page,
        "user_agent.original": event.user_agent,
        "http.request.header.referer": event.referrer,
        "value": event.value,
        **json.loads(event.properties_json),
    }
    if with_ids:
        named["log.record.uid"] = event.event_id
    nanos = event.event_time.ToNanoseconds()
    return LogRecord(
        event_name=event.event,
        time_unix_nano=nanos,
        observed_time_unix_nano=nanos,
        attributes=_attributes(named),
    )


def _attributes(named: "Mapping[str, str | float]") -> "Iterable[KeyValue]":
    return [
        KeyValue(key=name, value=AnyValue(**{_KINDS[type(value)]: value}))  # type: ignore[arg-type]  # a kind and its value
        for name, value in named.items()
    ]


def _cost(stack: "Stack", service: "ServiceProcess", store: "Callable[[], object]") -> "Cost":
    with stack.postgres.connect(DATABASE) as connection:
        connection.execute(_EMPTY)
        connection.execute("CHECKPOINT")
    return measuring.cost(store, service.pid, stack.postgres.pid)


def _line(name: str, events: int, exported: "list[Cost]", tracked: "list[Cost]") -> Line:
    rates = [per_second(events, median(cost.elapsed for cost in costs)) for costs in (exported, tracked)]
    ratio = median(one.elapsed / other.elapsed for one, other in zip(tracked, exported, strict=True))
    micros = median(cost.service for cost in exported) / events * 1e6
    return Line(
        f"{name}, {micros:.0f} µs of the service each", rates[0], f"TrackEvents {rates[1]}", f"{ratio:.2f}"
    )
