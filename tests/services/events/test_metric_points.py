"""A point has a value, or says why it has none."""

import pytest
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import (
    ListMetricsRequest,
    MetricDescriptor,
    MetricQuery,
    MetricResult,
    ReadMetricsRequest,
)
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service

RANGE = TimeRange(start_time=Timestamp(seconds=1_320_000_000), end_time=Timestamp(seconds=1_321_000_000))
LABELS = {"event": "seen", "start": "seen", "end": "paid", "window_minutes": "60", "name": "margin"}


@pytest.fixture
def listed(service: Service) -> list[MetricDescriptor]:
    return list(service.metrics.ListMetrics(ListMetricsRequest()).metrics)


def read(service: Service, listed: list[MetricDescriptor]) -> list[tuple[str, MetricResult]]:
    """Return every metric at every interval it has."""
    queries = [
        MetricQuery(
            name=metric.name,
            labels={label: LABELS[label] for label in metric.required_labels},
            interval=interval,
            time_range=RANGE,
        )
        for metric in listed
        for interval in metric.intervals
    ]
    results = service.metrics.ReadMetrics(ReadMetricsRequest(queries=queries)).results
    return [(query.name, result) for query, result in zip(queries, results, strict=True)]


def test_every_point_has_a_value_or_a_reason(service: Service, listed: list[MetricDescriptor]) -> None:
    event = pb.Event(event_id="1", user_id="ann", session_id="s", event="seen", category="revenue", value=2)
    event.event_time.FromSeconds(1_320_500_000)
    service.events.TrackEvent(pb.TrackEventRequest(event=event))
    reasons: dict[str, set[str]] = {}
    for name, result in read(service, listed):
        assert result.WhichOneof("outcome") == "series", name
        for point in result.series.points:
            assert point.HasField("value") != bool(point.absent_reason), name
            reasons.setdefault(name, set()).add(point.absent_reason)
    assert reasons["aov"] == {"", "no order in the interval"}
    assert reasons["conversion_ratio"] == {"", "nobody did the start event in the interval"}
    assert reasons["churn_ratio"] >= {"nobody was active in the interval before"}
    assert reasons["saved"] == {"nothing was saved for the interval"}
    assert reasons["revenue"] == {""}
