"""Forecasts over gRPC: of points, and of metrics of a real events service."""

import math
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

import grpc
import pytest
from brain.common.v1 import common_pb2
from brain.events.v1 import saved_metrics_pb2
from brain.forecasting.v1 import anomalies_pb2
from brain.forecasting.v1 import forecasts_pb2 as pb

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAILY, DAY, TODAY, points, sell, stamp, weekly
from tests.services.forecasting.conftest import Service


def ask(values: list[float], horizon: int = 14, **changes: object) -> pb.ForecastSeriesRequest:
    asked = {"points": points(values), "interval": DAILY, "options": pb.ForecastOptions(horizon=horizon)}
    return pb.ForecastSeriesRequest(**asked | changes)  # type: ignore[arg-type]


def test_a_week_goes_on(alone: Service) -> None:
    values = [float(each) for each in weekly(84)]
    found = alone.forecasting.ForecastSeries(ask(values)).forecast
    assert [point.expected for point in found.points] == pytest.approx(weekly(98)[84:], abs=0.6)
    assert [point.start_time.ToMicroseconds() for point in found.points] == [
        TODAY + at * DAY for at in range(84, 98)
    ]
    assert found.total.expected == pytest.approx(sum(point.expected for point in found.points))
    assert [point.value for point in found.history] == values
    assert (found.interval, found.time_zone) == (DAILY, "UTC")
    assert found.model
    assert found.model_version
    assert found.reason
    assert [each.level_ratio for each in found.back_test.coverage] == [0.8, 0.95]
    for point in found.points:
        parts = point.parts
        assert parts.level + parts.trend + parts.season + parts.holiday == pytest.approx(point.expected)
        narrow, wide = point.intervals
        assert wide.lower <= narrow.lower <= point.expected <= narrow.upper <= wide.upper


def test_days_are_those_of_the_zone(alone: Service) -> None:
    zone = ZoneInfo("Europe/Berlin")
    starts = [datetime(2011, 10, day, tzinfo=zone).astimezone(UTC) for day in range(15, 30)]
    made = []
    for start in starts:
        point = pb.SeriesPoint(value=5.0)
        point.start_time.FromDatetime(start)
        made.append(point)
    request = ask([], 3, points=made, time_zone="Europe/Berlin")
    found = alone.forecasting.ForecastSeries(request).forecast
    # Clocks go back on the 30th: it has 25 hours.
    assert [point.start_time.ToDatetime(UTC).astimezone(zone).hour for point in found.points] == [0, 0, 0]
    gaps = [point.start_time.ToMicroseconds() for point in found.points]
    assert gaps[1] - gaps[0] == 25 * 3_600_000_000


def test_what_can_only_be_positive_stays_so(alone: Service) -> None:
    values = [max(0.0, 30.0 - at) for at in range(60)]
    for interval in (DAILY, common_pb2.INTERVAL_HOUR):
        step = DAY if interval == DAILY else DAY // 24
        request = ask(values, 30, points=points(values, step=step), interval=interval)
        found = alone.forecasting.ForecastSeries(request).forecast
        assert min(point.expected for point in found.points) >= 0
        assert min(each.lower for point in found.points for each in point.intervals) >= 0


def test_a_day_of_refunds_makes_no_loss_expected(alone: Service) -> None:
    values = [float(each) for each in weekly(84)]
    values[80] = -50.0
    found = alone.forecasting.ForecastSeries(ask(values)).forecast
    assert min(each.lower for point in found.points for each in point.intervals) == 0
    losses = alone.forecasting.ForecastSeries(ask([-each for each in values])).forecast
    assert max(point.expected for point in losses.points) < 0


def test_closures_are_forecast_as_nothing(alone: Service) -> None:
    closed = pb.BusinessCalendar(closures=["2012-02-05"])  # 85 days after 2011-11-12
    options = pb.ForecastOptions(horizon=3, calendar=closed)
    found = alone.forecasting.ForecastSeries(
        ask([float(each) for each in weekly(84)], options=options)
    ).forecast
    assert found.points[1].expected == 0
    assert found.points[0].expected > 0


DULL = [[3.0], [3.0, 4.0], [0.0] * 5, [7.0] * 40, [1.0, math.nan, 3.0] + [math.nan] * 30 + [2.0] * 3]


def test_little_or_dull_history_has_a_forecast_and_a_warning(alone: Service) -> None:
    for values in DULL:
        found = alone.forecasting.ForecastSeries(ask(values, 2)).forecast
        assert found.warnings
        assert len(found.points) == 2
        for point in found.points:
            assert all(
                math.isfinite(each) and each >= 0 for each in (point.expected, point.intervals[1].upper)
            )


BAD = [
    (ask([]), "points"),
    (ask([math.nan] * 9), "points"),
    (ask([1.0, math.inf]), "points[1].value"),
    (ask([1.0, 1e300]), "points[1].value"),
    (ask([], points=[*points([1.0, 2.0]), *points([1.0])]), "points[2].start_time"),
    (ask([], points=points([1.0, 2.0], step=0)), "points[1].start_time"),
    (ask([], points=points([1.0, 2.0], step=DAY + 1)), "points[1].start_time"),
    (ask([], points=[pb.SeriesPoint(value=1.0)]), "points[0].start_time"),
    (ask([1.0] * 20, 41), "options.horizon"),
    (ask([1.0] * 20, -1), "options.horizon"),
    (ask([1.0] * 20, options=pb.ForecastOptions(levels=[1.0])), "options.levels[0]"),
    (ask([1.0] * 20, options=pb.ForecastOptions(levels=[math.nan])), "options.levels[0]"),
    (ask([1.0, 2.0] * 20, options=pb.ForecastOptions(levels=[0.8, 1 - 1e-15])), "options.levels[1]"),
    (ask([1.0, 2.0] * 20, options=pb.ForecastOptions(levels=[1e-300])), "options.levels[0]"),
    (ask([1.0] * 20, interval=0), "interval"),
    (ask([1.0] * 20, interval=9), "interval"),
    (ask([1.0] * 20, time_zone="Mars/North"), "time_zone"),
    (ask([], points=points([1.0, 2.0], step=40 * 365 * DAY)), "points"),
    (
        ask([1.0] * 9, options=pb.ForecastOptions(calendar=pb.BusinessCalendar(holidays=["25.12."]))),
        "options.calendar.holidays[0]",
    ),
]


def test_bad_questions_are_refused_by_field(alone: Service) -> None:
    for request_, field in BAD:
        refused = refusal(partial(alone.forecasting.ForecastSeries, request_))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert field in refused.fields


def test_every_fault_is_told_at_once(alone: Service) -> None:
    request = ask([math.inf], -1, interval=0, time_zone="x")
    fields = refusal(lambda: alone.forecasting.ForecastSeries(request)).fields
    assert fields.keys() == {"points[0].value", "options.horizon", "interval", "time_zone"}


def test_revenue_growth_and_demand_are_forecast(service: Service, events: EventsService) -> None:
    sell(events, weekly(70))
    week = weekly(77)[70:]
    options = pb.MetricForecastOptions(options=pb.ForecastOptions(horizon=7))
    revenue = service.forecasting.PredictRevenue(pb.PredictRevenueRequest(options=options)).forecast
    assert [point.expected for point in revenue.points] == pytest.approx([2.5 * each for each in week], abs=2)
    assert revenue.points[0].start_time.ToMicroseconds() == TODAY
    assert len(revenue.history) == 70  # nothing was sold before
    demand = service.forecasting.PredictDemand(pb.PredictDemandRequest(event="sold", options=options))
    assert [point.expected for point in demand.forecast.points] == pytest.approx(week, abs=1)
    growth = service.forecasting.PredictUserGrowth(pb.PredictUserGrowthRequest(metric="dau", options=options))
    assert [point.expected for point in growth.forecast.points] == pytest.approx(
        [min(5, each) for each in week], abs=0.5
    )
    metric = pb.MetricReference(name="revenue", interval=common_pb2.INTERVAL_WEEK)
    weeks = service.forecasting.ForecastMetric(pb.ForecastMetricRequest(metric=metric))
    assert weeks.metric.unit == "currency"
    assert weeks.forecast.points[0].expected == pytest.approx(2.5 * sum(weekly(7)), rel=0.05)


def test_the_past_is_forecast_from_what_was_known(service: Service, events: EventsService) -> None:
    sell(events, weekly(70))
    sell(events, [500], TODAY - 6 * DAY)  # a day that nobody could know of
    asked = pb.MetricForecastOptions(
        options=pb.ForecastOptions(horizon=7), as_of_time=stamp(TODAY - 7 * DAY + 1)
    )
    found = service.forecasting.PredictRevenue(pb.PredictRevenueRequest(options=asked)).forecast
    assert found.points[0].start_time.ToMicroseconds() == TODAY - 7 * DAY
    assert found.points[0].expected == pytest.approx(2.5 * weekly(64)[63], abs=2)


def test_a_day_that_is_not_over_is_left_out(service: Service, events: EventsService, clock: Clock) -> None:
    sell(events, weekly(30))
    clock.micros = TODAY + DAY // 2
    metric = pb.MetricReference(source="events", name="revenue", interval=DAILY)
    found = service.forecasting.ForecastMetric(pb.ForecastMetricRequest(metric=metric)).forecast
    assert found.history[-1].start_time.ToMicroseconds() == TODAY - DAY
    assert found.points[0].start_time.ToMicroseconds() == TODAY


def test_before_the_first_day_there_is_no_history(service: Service) -> None:
    options = pb.MetricForecastOptions(as_of_time=stamp(DAY // 2))
    request = pb.PredictRevenueRequest(options=options)
    assert refusal(lambda: service.forecasting.PredictRevenue(request)).reason == "HISTORY_EMPTY"


def test_saved_values_beyond_calculation_are_told(service: Service, events: EventsService) -> None:
    point = saved_metrics_pb2.MetricPointToSave(
        name="huge",
        period=saved_metrics_pb2.METRIC_PERIOD_DAILY,
        point_time=stamp(TODAY - DAY),
        value=1e300,
    )
    events.events.SaveMetric(saved_metrics_pb2.SaveMetricRequest(points=[point]))
    metric = pb.MetricReference(name="saved", labels={"name": "huge"}, interval=DAILY)
    forecast, judging = (
        pb.ForecastMetricRequest(metric=metric),
        anomalies_pb2.DetectAnomaliesRequest(metric=metric),
    )
    assert refusal(lambda: service.forecasting.ForecastMetric(forecast)).reason == "VALUES_TOO_LARGE"
    assert refusal(lambda: service.forecasting.DetectAnomalies(judging)).reason == "VALUES_TOO_LARGE"


def test_metrics_that_do_not_exist_are_named(service: Service) -> None:
    def ask_for(**reference: object) -> pb.ForecastMetricRequest:
        return pb.ForecastMetricRequest(metric=pb.MetricReference(interval=DAILY, **reference))  # type: ignore[arg-type]

    unknown = refusal(lambda: service.forecasting.ForecastMetric(ask_for(name="revenu")))
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "METRIC_UNKNOWN")
    assert "revenue" in unknown.message
    nowhere = refusal(lambda: service.forecasting.ForecastMetric(ask_for(source="sales", name="x")))
    assert (nowhere.code, nowhere.reason) == (grpc.StatusCode.NOT_FOUND, "SOURCE_UNKNOWN")
    empty = refusal(lambda: service.forecasting.ForecastMetric(ask_for(name="aov")))
    assert (empty.code, empty.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HISTORY_EMPTY")
    labels = refusal(lambda: service.forecasting.ForecastMetric(ask_for(name="event_count")))
    assert labels.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(labels.fields) == {"metric.labels[event]"}
