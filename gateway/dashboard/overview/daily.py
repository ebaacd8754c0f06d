"""Daily series of metrics, and what the cards and insights take from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from brain.metrics.v1.metrics_pb2 import MetricSeries

WEEK = 7


@dataclass(frozen=True, slots=True)
class DayValue:
    """A metric's value on a day, None where it is not defined."""

    day: date
    value: float | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """A value, the one it is set beside (None where there is none), and what each belongs to."""

    value: float | None
    note: str
    earlier: float | None
    earlier_note: str

    @property
    def change_ratio(self) -> float | None:
        """(value - earlier) / |earlier|; None where either is absent or the earlier one is 0."""
        if self.value is None or not self.earlier:
            return None
        return (self.value - self.earlier) / abs(self.earlier)


def days_of(series: "MetricSeries", zone: ZoneInfo) -> tuple[DayValue, ...]:
    """Return the points of a series that was read by day in `zone`."""
    return tuple(
        DayValue(
            formats.date_of(point.start_time, zone),
            point.value if point.HasField("value") else None,
            point.complete,
        )
        for point in series.points
    )


def compared_level(days: Sequence[DayValue], first: date) -> Compared:
    """Set the last complete day from `first` on beside the same weekday, at least as long ago as `first` is.

    Where no such day is complete, its value so far stands alone.
    """
    inside = [day for day in days if day.day >= first]
    closed = [day for day in inside if day.complete]
    if not closed:
        return Compared(inside[-1].value if inside else None, "so far", None, "")
    latest = closed[-1]
    weeks = math.ceil(((inside[-1].day - first).days + 1) / WEEK)
    earlier_day = latest.day - timedelta(days=weeks * WEEK)
    earlier = {day.day: day.value for day in days}.get(earlier_day)
    return Compared(latest.value, formats.day(latest.day), earlier, formats.day(earlier_day))


def compared_sum(days: Sequence[DayValue], first: date) -> Compared:
    """Set the sum over the complete days from `first` on beside the same days one period earlier."""
    inside = [day for day in days if day.day >= first]
    closed = [day.day for day in inside if day.complete]
    if not closed:
        return Compared(_total([day.value for day in inside]), "so far", None, "")
    shift = timedelta(days=(inside[-1].day - first).days + 1)
    values = {day.day: day.value for day in days}
    note = formats.span(closed[0], closed[-1])
    return Compared(
        _total([values.get(day) for day in closed]),
        note,
        _total([values.get(day - shift) for day in closed]),
        formats.span(closed[0] - shift, closed[-1] - shift),
    )


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) and known else None
