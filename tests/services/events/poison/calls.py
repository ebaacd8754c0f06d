"""Every call that asks, in its smallest sensible form, and how it is made."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    TimeRange,
)
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.conversion_pb2 import GetConversionRateRequest
from brain.metrics.v1.metrics_pb2 import (
    ListMetricsRequest,
    MetricQuery,
    ReadMetricRequest,
    ReadMetricsRequest,
)
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.refusals import refusal
from tests.services.events.conftest import Service


def at(year: int, month: int = 1, day: int = 1) -> Timestamp:
    return Timestamp(seconds=int(datetime(year, month, day, tzinfo=UTC).timestamp()))


DAY = TimeRange(start_time=at(2011, 11, 10), end_time=at(2011, 11, 11))

# Each call in its smallest sensible form, and how it is made.
CALLS: dict[str, tuple[Message, Callable[[Service, Any], object]]] = {
    "QueryEvents": (pb.QueryEventsRequest(), lambda service, request: service.events.QueryEvents(request)),
    "ScanEvents": (
        pb.ScanEventsRequest(events=["e"], time_range=DAY),
        lambda service, request: list(service.events.ScanEvents(request)),
    ),
    "CountEvents": (
        pb.CountEventsRequest(time_range=DAY),
        lambda service, request: service.events.CountEvents(request),
    ),
    "GetTopEvents": (
        pb.GetTopEventsRequest(time_range=DAY),
        lambda service, request: service.events.GetTopEvents(request),
    ),
    "GetActiveUsers": (
        pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_DAY),
        lambda service, request: service.events.GetActiveUsers(request),
    ),
    "GetConversionRate": (
        GetConversionRateRequest(start_event="e", end_event="f", time_range=DAY),
        lambda service, request: service.events.GetConversionRate(request),
    ),
    "ResolveUsers": (pb.ResolveUsersRequest(), lambda service, request: service.events.ResolveUsers(request)),
    "ListMetrics": (ListMetricsRequest(), lambda service, request: service.metrics.ListMetrics(request)),
    "ReadMetric": (
        ReadMetricRequest(query=MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=DAY)),
        lambda service, request: service.metrics.ReadMetric(request),
    ),
    "ReadMetrics": (
        ReadMetricsRequest(queries=[MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=DAY)]),
        lambda service, request: service.metrics.ReadMetrics(request),
    ),
    "ListAuditEntries": (
        ListAuditEntriesRequest(),
        lambda service, request: service.audit.ListAuditEntries(request),
    ),
}


def changed(name: str, /, **changes: object) -> Message:
    """Return the sensible request with some fields replaced."""
    request = type(CALLS[name][0])()
    request.CopyFrom(CALLS[name][0])
    target = request.query if isinstance(request, ReadMetricRequest) else request
    for field in changes:
        target.ClearField(field)
    target.MergeFrom(type(target)(**changes))
    return request


def check(service: Service, name: str, request: Message, *fields: str) -> None:
    """See the request refused for just these fields; those of a metric stand in its query."""
    refused = refusal(lambda: CALLS[name][1](service, request))
    prefix = "query." if name == "ReadMetric" else ""
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {f"{prefix}{field}" for field in fields}
    assert all(refused.fields.values())
