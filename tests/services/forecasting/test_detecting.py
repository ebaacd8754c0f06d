"""Anomalies over gRPC, and the metrics made of them."""

import math
from functools import partial

import grpc
import pytest
from brain.common.v1 import common_pb2
from brain.forecasting.v1 import anomalies_pb2 as pb
from brain.forecasting.v1 import forecasts_pb2
from brain.metrics.v1 import metrics_pb2
from google.rpc import code_pb2

from tests.refusals import refusal
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAILY, DAY, TODAY, points, sell, stamp, weekly
from tests.services.forecasting.conftest import Service

SOLD = forecasts_pb2.MetricReference(name="event_count", labels={"event": "sold"}, interval=DAILY)


def ask(values: list[float], **changes: object) -> pb.DetectSeriesAnomaliesRequest:
    asked = {"points": points(values), "interval": DAILY, "is_count": True}
    return pb.DetectSeriesAnomaliesRequest(**asked | changes)  # type: ignore[arg-type]


def test_a_day_that_is_unlike_its_weekday_is_found(alone: Service) -> None:
    values = [100.0 * each for each in weekly(84)]
    values[73] = 20.0  # a Thursday, else 2,000
    found = alone.forecasting.DetectSeriesAnomalies(ask(values)).found
    [anomaly] = found.anomalies
    assert anomaly.start_time.ToMicroseconds() == TODAY + 73 * DAY
    assert anomaly.end_time.ToMicroseconds() == TODAY + 74 * DAY
    assert anomaly.direction == pb.ANOMALY_DIRECTION_DOWN
    assert anomaly.peak.expected == pytest.approx(values[66], rel=0.1)
    assert anomaly.peak.value < anomaly.peak.lower < anomaly.peak.expected < anomaly.peak.upper
    assert (found.threshold, found.judged_points) == (3.0, 84 - 28)
    assert found.alerts_per_month == pytest.approx(1 / 56 * 30.4375)
    first = found.points[0]
    assert not any(first.HasField(name) for name in ("expected", "lower", "upper", "score"))


def test_sensitivity_is_a_threshold(alone: Service) -> None:
    for sensitivity, threshold in ((1, 4.0), (2, 3.0), (3, 2.5)):
        options = pb.AnomalyOptions(sensitivity=sensitivity)  # type: ignore[arg-type]
        request = ask([1.0] * 40, options=options)
        assert alone.forecasting.DetectSeriesAnomalies(request).found.threshold == threshold


def test_days_known_as_closed_are_not_judged(alone: Service) -> None:
    values = [100.0 * each for each in weekly(84)]
    values[73] = 0.0
    closed = forecasts_pb2.BusinessCalendar(closures=["2012-01-24"])
    request = ask(values, options=pb.AnomalyOptions(calendar=closed))
    assert not alone.forecasting.DetectSeriesAnomalies(request).found.anomalies


def test_a_threshold_out_of_reach_of_z_scores_is_told(alone: Service) -> None:
    values = [float(each) for each in (5, 6, 5, 7, 6, 5, 60)]
    options = pb.AnomalyOptions(method=pb.ANOMALY_METHOD_ZSCORE, threshold=3.0)
    found = alone.forecasting.DetectSeriesAnomalies(ask(values, options=options)).found
    assert not found.anomalies
    assert "2.27" in found.warnings[0]
    options.threshold = 2.0
    found = alone.forecasting.DetectSeriesAnomalies(ask(values, options=options)).found
    assert [each.start_time.ToMicroseconds() for each in found.anomalies] == [TODAY + 6 * DAY]
    assert found.anomalies[0].direction == pb.ANOMALY_DIRECTION_UP


BAD = [
    (pb.AnomalyOptions(threshold=0.0), "options.threshold"),
    (pb.AnomalyOptions(threshold=math.nan), "options.threshold"),
    (pb.AnomalyOptions(threshold=1e9), "options.threshold"),
    (pb.AnomalyOptions(method=7), "options.method"),  # type: ignore[arg-type]
    (pb.AnomalyOptions(sensitivity=7), "options.sensitivity"),  # type: ignore[arg-type]
]


def test_bad_options_are_refused_by_field(alone: Service) -> None:
    for options, field in BAD:
        refused = refusal(partial(alone.forecasting.DetectSeriesAnomalies, ask([1.0] * 9, options=options)))
        assert (refused.code, set(refused.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {field})


def test_a_metric_is_judged_by_its_own_past(service: Service, events: EventsService) -> None:
    counts = weekly(84)
    counts[-3] = 90
    sell(events, counts)
    span = common_pb2.TimeRange(start_time=stamp(TODAY - 10 * DAY), end_time=stamp(TODAY + 5 * DAY))
    request = pb.DetectAnomaliesRequest(metric=SOLD, time_range=span)
    found = service.forecasting.DetectAnomalies(request).found
    assert [point.value for point in found.points] == counts[-10:]
    assert [each.start_time.ToMicroseconds() for each in found.anomalies] == [TODAY - 3 * DAY]
    assert found.judged_points == 84 - 28
    series = alone_of(service, found.threshold, counts)
    assert found.points[-1].expected == pytest.approx(series.points[-1].expected)
    whole = service.forecasting.DetectAnomalies(pb.DetectAnomaliesRequest(metric=SOLD)).found
    assert whole.points[-1] == found.points[-1]


def alone_of(service: Service, threshold: float, counts: list[int]) -> pb.Anomalies:
    """What is said of the same points when they are brought."""
    request = pb.DetectSeriesAnomaliesRequest(
        points=points(map(float, counts), TODAY - len(counts) * DAY),
        interval=DAILY,
        is_count=True,
        options=pb.AnomalyOptions(threshold=threshold),
    )
    return service.forecasting.DetectSeriesAnomalies(request).found


def query(name: str, /, **labels: str) -> metrics_pb2.MetricQuery:
    span = common_pb2.TimeRange(start_time=stamp(TODAY - 5 * DAY), end_time=stamp(TODAY + DAY))
    return metrics_pb2.MetricQuery(name=name, labels=labels, interval=DAILY, time_range=span)


def test_scores_and_gaps_are_metrics_themselves(service: Service, events: EventsService) -> None:
    counts = weekly(84)
    counts[-3] = 90
    sell(events, counts)
    labels = {"source": "events", "name": "event_count", "event": "sold"}
    request = metrics_pb2.ReadMetricsRequest(
        queries=[
            query("anomaly_score", **labels),
            query("forecast_gap_ratio", **labels),
            query("anomaly_score", source="events", name="event_count"),
            query("anomaly_score", name="dau"),
            query("anomaly_skore"),
        ]
    )
    scores, gaps, unlabelled, sourceless, unknown = service.metrics.ReadMetrics(request).results
    found = alone_of(service, 3.0, counts)
    assert [point.value for point in scores.series.points[:5]] == pytest.approx(
        [point.score for point in found.points[-5:]]
    )
    assert [(point.complete, point.HasField("value")) for point in scores.series.points] == [
        *[(True, True)] * 5,
        (False, False),
    ]
    assert [point.value for point in gaps.series.points[:5]] == pytest.approx(
        [(point.value - point.expected) / point.expected for point in found.points[-5:]]
    )
    assert "queries[2].labels[event]" in unlabelled.error.message
    assert "queries[3].labels[source]" in sourceless.error.message
    assert unknown.error.code == code_pb2.NOT_FOUND
    listed = service.metrics.ListMetrics(metrics_pb2.ListMetricsRequest()).metrics
    assert [metric.name for metric in listed] == ["anomaly_score", "forecast_gap_ratio"]
