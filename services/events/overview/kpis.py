"""The key figures of a period: which metrics, of which part of it, beside those of the period before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from services.events.overview.shared_cells import SharedCells
from services.events.reading.metrics import Metric, Point, Series
from shared.calendar import HOUR_MICROS, Interval, buckets, day_start, local_date, unit_start

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from services.events.reading.store import CellStore

Span = tuple[int, int]

# One that is over lies in them, however clocks change.
_THREE_HOURS = 3 * HOUR_MICROS


class Part(Enum):
    """Which part of a period a figure is of."""

    WHOLE = auto()
    LAST_DAY = auto()
    LAST_MONTH = auto()  # the last calendar month that is over at its end


# In the order in which they are told.
KPIS = {
    "dau": Part.LAST_DAY,
    "wau": Part.LAST_DAY,
    "mau": Part.LAST_DAY,
    "engagement_score": Part.LAST_DAY,
    "new_users": Part.WHOLE,
    "churn_ratio": Part.LAST_MONTH,
    "sessions": Part.WHOLE,
    "session_duration_seconds": Part.WHOLE,
    "pages_per_session": Part.WHOLE,
    "bounce_ratio": Part.WHOLE,
    "revenue": Part.WHOLE,
    "aov": Part.WHOLE,
    "arpu": Part.WHOLE,
    "ltv": Part.WHOLE,
    "mrr": Part.WHOLE,
}
# Metrics of a whole period are read as of one long interval. Those that differ by interval are none of them.
_INTERVALS = {Part.WHOLE: Interval.MONTH, Part.LAST_DAY: Interval.DAY, Part.LAST_MONTH: Interval.MONTH}


@dataclass(frozen=True, slots=True)
class Period:
    """Whole local days, [start, end) in Unix µs, and those before that they are compared with, if any."""

    span: Span
    previous: Span | None


@dataclass(frozen=True, slots=True)
class Kpi:
    """A figure, the part of the period it is of, and the same of the period before."""

    metric: Metric
    span: Span
    point: Point
    previous: Point | None


def period_of(days: Sequence[Span], zone: "ZoneInfo", *, compared: bool) -> Period:
    """Return the period of some local days, compared with as many days just before."""
    start, end = days[0][0], days[-1][1]
    if not compared:
        return Period((start, end), None)
    # A zone skips one day at the most: Samoa, 2011-12-30.
    earliest = day_start(local_date(start, zone) - timedelta(days=len(days) + 1), zone)
    before = buckets(earliest, start, Interval.DAY, zone)[-len(days) :]
    return Period((start, end), (before[0][0], start))


def read_kpis(
    metrics: Mapping[str, Metric], store: "CellStore", period: Period, zone: "ZoneInfo"
) -> list[Kpi]:
    """Return the figures of a period."""
    cells = SharedCells(store)
    return [_read(cells, metrics[name], part, (period, zone)) for name, part in KPIS.items()]


def _read(cells: SharedCells, metric: Metric, part: Part, scope: "tuple[Period, ZoneInfo]") -> Kpi:
    period, zone = scope
    span = part_of(period.span, part, zone)
    spans = [span]
    if period.previous:
        is_month = part is Part.LAST_MONTH
        spans.insert(0, last_month(span[0], zone) if is_month else part_of(period.previous, part, zone))
    # What follows without a gap is one question.
    groups = [spans] if spans[0][1] == spans[-1][0] else [[each] for each in spans]
    points = [
        point
        for group in groups
        for point in metric.read(cells, Series(tuple(group), _INTERVALS[part], zone, {}, ()))
    ]
    return Kpi(metric, span, points[-1], points[0] if period.previous else None)


def part_of(span: Span, part: Part, zone: "ZoneInfo") -> Span:
    """Return the part of a period that a figure is of."""
    if part is Part.LAST_DAY:
        return day_start(local_date(span[1] - 1, zone), zone), span[1]
    return last_month(span[1], zone) if part is Part.LAST_MONTH else span


def last_month(moment: int, zone: "ZoneInfo") -> Span:
    """Return the last calendar month that is over at an instant."""
    return last_unit(moment, Interval.MONTH, zone)


def unit_of(moment: int, interval: Interval, zone: "ZoneInfo") -> Span:
    """Return the hour, day, week or month that an instant is in."""
    [unit] = buckets(moment, moment + 1, interval, zone)
    return unit


def last_unit(moment: int, interval: Interval, zone: "ZoneInfo") -> Span:
    """Return the last hour, day, week or month that is over at an instant."""
    if interval is Interval.HOUR:
        lately = buckets(moment - _THREE_HOURS, moment, interval, zone)
        return next(hour for hour in reversed(lately) if hour[1] <= moment)
    first = unit_start(local_date(moment, zone), interval)
    end = start = day_start(first, zone)
    while start == end:  # a day may not exist: Samoa, 2011-12-30
        first = unit_start(first - timedelta(days=1), interval)
        start = day_start(first, zone)
    return start, end
