"""Targets of weeks and months that are not over, beside what the forecast expects of them."""

import asyncio
import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.events.v1 import saved_metrics_pb2
from brain.forecasting.v1 import forecasts_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub

from gateway.dashboard.page import formats, scope
from gateway.dashboard.page.answers import Failure
from gateway.dashboard.page.sums import adds_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from gateway.dashboard.page.visits import Visit

LEVEL: Final = 0.8
_SERVICE: Final = "forecasting"
# The page is not kept waiting for what is expected any longer.
_MOST_SECONDS: Final = 2.0
# Each is a forecast.
_MOST_TARGETS: Final = 8
_SAVED: Final = 500
_OF_AN_EVENT: Final = frozenset({"event_count", "event_value"})
_WEEK: Final = saved_metrics_pb2.METRIC_PERIOD_WEEKLY
_MONTH: Final = saved_metrics_pb2.METRIC_PERIOD_MONTHLY


@dataclass(frozen=True, slots=True)
class Target:
    """What a sum, of an event where it needs one, should come to from one day to another, both included."""

    metric: str
    event: str
    first: date
    last: date
    value: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What came on whole days so far, and what that and the forecast of the others come to."""

    target: Target
    unit: str
    so_far: float
    expected: float
    lower: float
    upper: float

    @property
    def distance_ratio(self) -> float:
        """|expected - target| / |target|; infinite where nothing should come."""
        away = abs(self.expected - self.target.value)
        return away / abs(self.target.value) if self.target.value else float("inf")


async def read(visit: "Visit") -> tuple[Outlook, ...]:
    """Ask for targets and forecasts; without these, and of days that are over, nothing is told."""
    if visit.scope.last < visit.scope.today:
        return ()
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            return await _read(visit)
    except TimeoutError:
        return ()


async def _read(visit: "Visit") -> tuple[Outlook, ...]:
    zone = visit.surroundings.reporting_zone  # targets are the deployment's, whoever looks
    today = visit.scope.now.astimezone(zone).date()
    answers = await asyncio.gather(
        *(_saved(visit, request(period, today, zone)) for period in (_WEEK, _MONTH))
    )
    points = [point for each in answers if not isinstance(each, Failure) for point in each.metrics]
    wanted = targets(points, today)[:_MOST_TARGETS]
    forecasts = await asyncio.gather(*(_forecast(visit, question(each, today, zone)) for each in wanted))
    outlooks = [
        outlook(target, each, zone)
        for target, each in zip(wanted, forecasts, strict=True)
        if not isinstance(each, Failure)
    ]
    return tuple(each for each in outlooks if each is not None)


async def _saved(
    visit: "Visit", asked: saved_metrics_pb2.GetMetricsRequest
) -> saved_metrics_pb2.GetMetricsResponse | Failure:
    return await visit.questions.ask("events", visit.surroundings.services.events.GetMetrics, asked)


async def _forecast(
    visit: "Visit", asked: forecasts_pb2.ForecastMetricRequest
) -> forecasts_pb2.ForecastMetricResponse | Failure:
    stub = visit.surroundings.services.stub(_SERVICE, ForecastingServiceStub)
    return await visit.questions.ask(_SERVICE, stub.ForecastMetric, asked)


def period_of(period: "saved_metrics_pb2.MetricPeriod.ValueType", day: date) -> tuple[date, date]:
    """Return the first and last day of the week or month that a day lies in."""
    if period == _WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=6)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def request(
    period: "saved_metrics_pb2.MetricPeriod.ValueType", today: date, zone: "ZoneInfo"
) -> saved_metrics_pb2.GetMetricsRequest:
    """Return the question for the points of the period that today lies in."""
    return saved_metrics_pb2.GetMetricsRequest(
        period=period, time_range=scope.days_range(*period_of(period, today), zone), page_size=_SAVED
    )


def targets(points: "Sequence[saved_metrics_pb2.SavedMetric]", today: date) -> list[Target]:
    """Return the targets of sums, in the order of the points; of several of one period the latest counts."""
    found: dict[tuple[str, str, date, date], float] = {}
    for point in points:
        event = _event(point) if point.name in _OF_AN_EVENT else ""
        if point.HasField("target") and adds_up(point.name) and (event or point.name not in _OF_AN_EVENT):
            found[(point.name, event, *period_of(point.period, today))] = point.target
    return [Target(*named, value) for named, value in found.items()]


def _event(point: saved_metrics_pb2.SavedMetric) -> str:
    """Return the event that a point was saved with, empty without one."""
    known = json.loads(point.metadata_json) if point.metadata_json else {}
    event = known.get("event")
    return event if isinstance(event, str) else ""


def question(target: Target, today: date, zone: "ZoneInfo") -> forecasts_pb2.ForecastMetricRequest:
    """Return the question for the days of a target that are not over."""
    return forecasts_pb2.ForecastMetricRequest(
        metric=forecasts_pb2.MetricReference(
            name=target.metric,
            labels={"event": target.event} if target.event else {},
            interval=common_pb2.INTERVAL_DAY,
            time_zone=zone.key,
        ),
        options=forecasts_pb2.MetricForecastOptions(
            options=forecasts_pb2.ForecastOptions(horizon=(target.last - today).days + 1, levels=[LEVEL])
        ),
    )


def outlook(target: Target, answer: forecasts_pb2.ForecastMetricResponse, zone: "ZoneInfo") -> Outlook | None:
    """Return what the days of the history and the forecast come to; None where they are not all known."""
    found = answer.forecast
    came = [point for point in found.history if formats.date_of(point.start_time, zone) >= target.first]
    ends = formats.date_of(found.points[-1].start_time, zone) == target.last
    if not ends or not all(point.HasField("value") for point in came):
        return None
    so_far = sum(point.value for point in came)
    [interval] = found.total.intervals
    return Outlook(
        target,
        answer.metric.unit,
        so_far,
        so_far + found.total.expected,
        so_far + interval.lower,
        so_far + interval.upper,
    )
