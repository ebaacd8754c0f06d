"""Ranges of time and units of the calendar that a request names, checked."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from brain.common.v1 import common_pb2

from shared.calendar import MICROS, Interval, buckets, upper_bound
from shared.validation import HasTimeRange, Violations, chosen, required_range, time_zone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from brain.metrics.v1.metrics_pb2 import MetricQuery

EARLIEST, LATEST = 0, 4_102_444_800 * MICROS  # 1970-01-01, 2100-01-01
MAXIMUM_POINTS = 10_000
INTERVALS = {
    common_pb2.INTERVAL_HOUR: Interval.HOUR,
    common_pb2.INTERVAL_DAY: Interval.DAY,
    common_pb2.INTERVAL_WEEK: Interval.WEEK,
    common_pb2.INTERVAL_MONTH: Interval.MONTH,
}
INTERVAL_NUMBERS = {interval: number for number, interval in INTERVALS.items()}


@dataclass(frozen=True, slots=True)
class Limit:
    """How many units a range may touch, and what they are to who asks."""

    units: int = MAXIMUM_POINTS
    what: str = "intervals"


@dataclass(frozen=True, slots=True)
class Series:
    """The units that a series has a point for, [start, end) in Unix µs each."""

    units: tuple[tuple[int, int], ...]
    interval: Interval
    zone: "ZoneInfo"


def range_of(violations: Violations, message: HasTimeRange) -> tuple[int, int]:
    """Return the required range of a request, [start, end) in Unix µs; (0, 0) where it is at fault."""
    return within_years(violations, required_range(violations, "time_range", message))


def within_years(violations: Violations, time_range: tuple[int, int]) -> tuple[int, int]:
    """Return a range that lies where events can; (0, 0) after a violation."""
    start, end = time_range
    if start < EARLIEST or end > LATEST:
        violations.add("time_range", "must lie between 1970 and 2100")
        return 0, 0
    return time_range


def units_of(
    violations: Violations,
    field: str,
    time_range: tuple[int, int],
    interval: Interval,
    zone: "ZoneInfo",
    limit: Limit = Limit(),
) -> tuple[tuple[int, int], ...]:
    """Return the whole units that touch a range; none, and a violation, where there are too many."""
    may_be_walked = upper_bound(*time_range, interval) <= 2 * limit.units + 2
    units = _units(time_range, interval, zone) if may_be_walked else ()
    if may_be_walked and len(units) <= limit.units:
        return units
    violations.add(field, f"is too wide: at most {limit.units:,} {limit.what} of one {interval.name.lower()}")
    return ()


# Calls ask for the same units many times over: hundreds of series of one range, a dozen tiles of a page.
@lru_cache(maxsize=8)
def _units(time_range: tuple[int, int], interval: Interval, zone: "ZoneInfo") -> tuple[tuple[int, int], ...]:
    return tuple(buckets(*time_range, interval, zone))


def series_of(
    violations: Violations,
    query: "MetricQuery",
    allowed: "Sequence[Interval]",
    reporting_zone: "ZoneInfo",
    maximum: int = MAXIMUM_POINTS,
) -> Series:
    """Return the units that begin in a query's range; the caller raises."""
    zone = time_zone(violations, "time_zone", query.time_zone, reporting_zone)
    interval = chosen(violations, "interval", query.interval, INTERVALS)
    if query.interval in INTERVALS and interval not in allowed:
        names = ", ".join(each.name.lower() for each in allowed)
        violations.add("interval", f"{query.name} is read by {names}")
    time_range = range_of(violations, query)
    units = units_of(violations, "time_range", time_range, interval, zone, Limit(maximum, "points"))
    return Series(tuple(unit for unit in units if unit[0] >= time_range[0]), interval, zone)
