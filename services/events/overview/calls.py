"""The calls of EventsService that look at metrics together: the key figures, and how one grew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from brain.events.v1 import overview_pb2 as pb

from services.events import messages, metric_questions
from services.events.growth import change
from services.events.overview.kpis import Kpi, Period, last_unit, period_of, read_kpis, unit_of
from services.events.reading.metrics import Metric, Point, Series
from services.events.reading.store import CellStore
from shared.calendar import Interval, day_start, local_date
from shared.intervals import EARLIEST, INTERVALS, LATEST, Limit, units_of, within_years
from shared.timestamps import from_micros
from shared.validation import Violations, chosen, instant, optional_range, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc

DEFAULT_DAYS = 30


@dataclass(frozen=True)
class OverviewCalls:
    """Tells the key figures and their growth."""

    metrics: Mapping[str, Metric]
    cells: CellStore
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def GetOverview(
        self, request: pb.GetOverviewRequest, context: "grpc.ServicerContext"
    ) -> pb.GetOverviewResponse:
        """Tell the key figures of a period."""
        now = self.clock()
        period, zone = _overview_question(request, self.reporting_zone, now)
        start, end = period.span
        return pb.GetOverviewResponse(
            kpis=[_kpi(each, period) for each in read_kpis(self.metrics, self.cells, period, zone)],
            start_time=from_micros(start),
            end_time=from_micros(end),
            previous_start_time=from_micros(period.previous[0]) if period.previous else None,
            complete=end <= now,
            time_zone=messages.zone_name(zone),
        )

    def GetGrowthRate(
        self, request: pb.GetGrowthRateRequest, context: "grpc.ServicerContext"
    ) -> pb.GetGrowthRateResponse:
        """Tell how a metric grew."""
        metric = metric_questions.known(self.metrics, request.name)
        series = _growth_question(request, metric, self.reporting_zone, self.clock())
        previous, current = metric.read(self.cells, series)
        growth = change(current.value, previous.value)
        return pb.GetGrowthRateResponse(
            current=_period_value(metric, series.intervals[1], current),
            previous=_period_value(metric, series.intervals[0], previous),
            growth_ratio=growth.value,
            absent_reason=growth.absent_reason,
            time_zone=messages.zone_name(series.zone),
        )


def _overview_question(
    request: pb.GetOverviewRequest, reporting_zone: "ZoneInfo", now: int
) -> "tuple[Period, ZoneInfo]":
    violations = Violations()
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    if request.compare not in pb.OverviewComparison.values():
        violations.add("compare", f"has no meaning for the value {request.compare}")
    asked = optional_range(violations, "time_range", request)
    if asked is None:
        today = local_date(now, zone)
        asked = day_start(today - timedelta(days=DEFAULT_DAYS), zone), day_start(today, zone)
    days = units_of(
        violations,
        "time_range",
        within_years(violations, asked),
        Interval.DAY,
        zone,
        Limit(what="local days"),
    )
    violations.raise_if_any()
    return period_of(days, zone, compared=request.compare != pb.OVERVIEW_COMPARISON_NONE), zone


def _growth_question(
    request: pb.GetGrowthRateRequest, metric: Metric, reporting_zone: "ZoneInfo", now: int
) -> Series:
    violations = Violations()
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    interval = chosen(violations, "period", request.period, INTERVALS)
    if request.period in INTERVALS and interval not in metric.intervals:
        names = ", ".join(each.name.lower() for each in metric.intervals)
        violations.add("period", f"{metric.name} is read by {names}")
    labels = metric_questions.labels(violations, metric, request.labels)
    conditions = metric_questions.filters(violations, metric, request.filters)
    current = _current_period(violations, request, interval, zone, now)
    violations.raise_if_any()
    return Series((last_unit(current[0], interval, zone), current), interval, zone, labels, conditions)


def _current_period(
    violations: Violations, request: pb.GetGrowthRateRequest, interval: Interval, zone: "ZoneInfo", now: int
) -> "tuple[int, int]":
    if not request.HasField("current_time"):
        return last_unit(now, interval, zone)
    moment = instant(violations, "current_time", request.current_time)
    if moment is None:
        return 0, 0
    if not EARLIEST <= moment < LATEST:
        violations.add("current_time", "must lie between 1970 and 2100")
        return 0, 0
    start, end = unit_of(moment, interval, zone)
    if end > now:
        violations.add("current_time", f"lies in a {interval.value} that is not over")
    return start, end


def _kpi(kpi: Kpi, period: Period) -> pb.Kpi:
    previous = kpi.previous.value if kpi.previous else None
    changed = change(kpi.point.value, previous)
    is_compared = period.previous is not None
    return pb.Kpi(
        name=kpi.metric.name,
        value=kpi.point.value,
        absent_reason=_absent_reason(kpi.metric, kpi.point),
        previous_value=previous,
        change_ratio=changed.value if is_compared else None,
        change_absent_reason=changed.absent_reason if is_compared else "nothing is compared with",
        unit=kpi.metric.unit,
        definition=kpi.metric.definition,
        sample_size=kpi.point.sample_size,
        start_time=from_micros(kpi.span[0]),
        end_time=from_micros(kpi.span[1]),
    )


def _period_value(metric: Metric, span: tuple[int, int], point: Point) -> pb.PeriodValue:
    return pb.PeriodValue(
        start_time=from_micros(span[0]),
        end_time=from_micros(span[1]),
        value=point.value,
        absent_reason=_absent_reason(metric, point),
        sample_size=point.sample_size,
    )


def _absent_reason(metric: Metric, point: Point) -> str:
    return metric.absent_reason if point.value is None else ""
