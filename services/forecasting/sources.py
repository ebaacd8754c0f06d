"""Metrics of other services, read through the one contract for numbers over time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1 import common_pb2
from brain.metrics.v1 import metrics_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.forecasting.models.values import LARGEST
from services.forecasting.series import Grid
from shared.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    ServiceError,
    Unavailable,
)
from shared.intervals import INTERVAL_NUMBERS, INTERVALS
from shared.timestamps import from_micros
from shared.validation import Violations, chosen, text, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from brain.forecasting.v1.forecasts_pb2 import MetricReference
    from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub

    from shared.calendar import Interval

EVENTS = "events"
_PAGE = 1_000
_LABELS = 20


@dataclass(frozen=True, slots=True)
class MetricKey:
    """A metric of a source, checked: what to read, and how far its points are apart."""

    source: str
    query: metrics_pb2.MetricQuery
    interval: "Interval"
    zone: "ZoneInfo"


@dataclass(frozen=True)
class Sources:
    """The services that metrics can be read from, by name."""

    stubs: Mapping[str, "MetricSourceServiceStub"]
    reporting_zone: "ZoneInfo"

    def key(self, violations: Violations, field: str, reference: "MetricReference") -> MetricKey:
        """Return what to read; raise nothing for the metric's own rules, which its source knows."""
        path = f"{field}." if field else ""
        name = text(violations, f"{path}name", reference.name, maximum=100)
        if len(reference.labels) > _LABELS:
            violations.add(f"{path}labels", f"must be at most {_LABELS}")
        interval = chosen(violations, f"{path}interval", reference.interval, INTERVALS)
        zone = time_zone(violations, f"{path}time_zone", reference.time_zone, self.reporting_zone)
        query = metrics_pb2.MetricQuery(
            name=name,
            labels=reference.labels,
            filters=reference.filters,
            interval=INTERVAL_NUMBERS[interval],
            time_zone=zone.key,
        )
        return MetricKey(reference.source or EVENTS, query, interval, zone)

    def stub(self, source: str) -> "MetricSourceServiceStub":
        """Return a source; raise NotFound that names those there are."""
        if source not in self.stubs:
            known = ", ".join(sorted(self.stubs)) or "none"
            raise NotFound(f"there is no metric source {source[:100]!r}; there is {known}", "SOURCE_UNKNOWN")
        return self.stubs[source]

    def descriptor(self, key: MetricKey) -> metrics_pb2.MetricDescriptor:
        """Return what the source says of a metric; raise NotFound that names the nearest."""
        found: dict[str, metrics_pb2.MetricDescriptor] = {}
        request = metrics_pb2.ListMetricsRequest(page_size=_PAGE)
        while True:
            page = self.stub(key.source).ListMetrics(request)
            found |= {metric.name: metric for metric in page.metrics}
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        if key.query.name not in found:
            shown = key.query.name[:100]
            nearest = ", ".join(get_close_matches(shown, sorted(found), 3, 0.5) or sorted(found))
            raise NotFound(f"{key.source} has no metric {shown!r}; it has {nearest}", "METRIC_UNKNOWN")
        return found[key.query.name]

    def read(self, key: MetricKey, units: Sequence[tuple[int, int]], field: str) -> Grid:
        """Return the complete points of these units, which follow one another.

        Others are missing; those at the end are left out.

        An error of the source is raised as one of the request, its fields behind `field`.
        """
        [series] = self.read_many(key.source, [(key, units)], field)
        if isinstance(series, ServiceError):
            raise series
        return series

    def read_many(
        self, source: str, asked: Sequence[tuple[MetricKey, Sequence[tuple[int, int]]]], field: str
    ) -> list[Grid | ServiceError]:
        """Return a series, or why there is none, for each metric of one source."""
        request = metrics_pb2.ReadMetricsRequest()
        for key, units in asked:
            query = request.queries.add()
            query.CopyFrom(key.query)
            query.time_range.CopyFrom(
                common_pb2.TimeRange(start_time=from_micros(units[0][0]), end_time=from_micros(units[-1][1]))
            )
        results = self.stub(source).ReadMetrics(request).results
        return [
            error_of(result.error, field)
            if result.WhichOneof("outcome") == "error"
            else _grid(result.series, key, units)
            for result, (key, units) in zip(results, asked, strict=True)
        ]


def _grid(
    series: metrics_pb2.MetricSeries, key: MetricKey, units: Sequence[tuple[int, int]]
) -> Grid | ServiceError:
    """Return the complete points; units at the end that are not over yet are left out."""
    complete = {point.start_time.ToMicroseconds(): point for point in series.points if point.complete}
    over = list(units)
    while over and over[-1][0] not in complete:
        over.pop()
    values = np.array([_value(complete.get(start)) for start, _ in over], np.float64)
    if (np.abs(values) > LARGEST).any():
        message = f"{key.query.name} has values beyond {LARGEST:g}, which cannot be calculated with"
        return FailedPrecondition(message, "VALUES_TOO_LARGE")
    return Grid(tuple(over), values, key.interval, key.zone)


def _value(point: metrics_pb2.MetricPoint | None) -> float:
    known = point is not None and point.HasField("value") and math.isfinite(point.value)
    return point.value if point is not None and known else math.nan


def error_of(status: status_pb2.Status, field: str) -> ServiceError:
    """Return what another service's error is to who asked this one."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad)
    if status.code == code_pb2.NOT_FOUND:
        return NotFound(status.message, info.reason or "METRIC_UNKNOWN")
    if status.code == code_pb2.INVALID_ARGUMENT:
        found = [
            FieldViolation(".".join(filter(None, (field, each.field.partition(".")[2]))), each.description)
            for each in bad.field_violations
        ]
        return InvalidArgument(found or [FieldViolation(field, status.message)])
    return Unavailable(f"the metric source answers: {status.message}", "SOURCE_FAILED")
