"""Points on the grid of their calendar."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from brain.forecasting.v1 import forecasts_pb2 as pb
from numpy.typing import NDArray

from services.forecasting.models.values import LARGEST
from shared.calendar import MICROS, Interval, buckets, local_date, to_datetime
from shared.intervals import EARLIEST, LATEST, MAXIMUM_POINTS, Limit, units_of
from shared.timestamps import from_micros
from shared.validation import Violations, instant

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

# The longest a unit can be, clocks being put back.
LONGEST_MICROS = {
    Interval.HOUR: 7_200 * MICROS,
    Interval.DAY: 90_000 * MICROS,
    Interval.WEEK: 608_400 * MICROS,
    Interval.MONTH: 2_682_000 * MICROS,
}
_MAXIMUM_DATES = 1_000


@dataclass(frozen=True, slots=True)
class Grid:
    """A series without gaps: [start, end) of each unit in Unix µs; its values, NaN where missing."""

    units: tuple[tuple[int, int], ...]
    values: NDArray[np.float64]
    interval: Interval
    zone: "ZoneInfo"

    def dates(self) -> list[date]:
        """Return the local date each unit begins on."""
        return [local_date(start, self.zone) for start, _ in self.units]

    def hour(self) -> int:
        """Return the local hour the first unit begins at."""
        return to_datetime(self.units[0][0], self.zone).hour

    def following(self, count: int) -> tuple[tuple[int, int], ...]:
        """Return the units after the last."""
        return units_after(self.units[-1][1], count, self.interval, self.zone)

    def without(self, closed: frozenset[date]) -> "Grid":
        """Return the series with the values of these dates missing."""
        if not closed or self.interval not in {Interval.HOUR, Interval.DAY}:
            return self
        is_closed = np.array([day in closed for day in self.dates()], bool)
        return Grid(self.units, np.where(is_closed, np.nan, self.values), self.interval, self.zone)

    def begun(self) -> "Grid":
        """Return the series from its first value that is not 0 on; all of it where there is none."""
        started = np.flatnonzero(~np.isnan(self.values) & (self.values != 0))
        first = int(started[0]) if started.size else 0
        return Grid(self.units[first:], self.values[first:], self.interval, self.zone)

    @property
    def is_empty(self) -> bool:
        """Whether there is no value."""
        return bool(np.isnan(self.values).all())

    def messages(self) -> list[pb.SeriesPoint]:
        """Return the points as messages."""
        return [
            pb.SeriesPoint(start_time=from_micros(start), value=None if math.isnan(value) else value)
            for (start, _), value in zip(self.units, self.values.tolist(), strict=True)
        ]


def units_after(moment: int, count: int, interval: Interval, zone: "ZoneInfo") -> tuple[tuple[int, int], ...]:
    """Return the first units that begin at a boundary or after it."""
    found = buckets(moment, moment + (count + 1) * LONGEST_MICROS[interval], interval, zone)
    return tuple(unit for unit in found if unit[0] >= moment)[:count]


def units_before(
    moment: int, count: int, interval: Interval, zone: "ZoneInfo"
) -> tuple[tuple[int, int], ...]:
    """Return the last units, at most `count`, that ended at a moment or before it."""
    start = max(EARLIEST, moment - (count + 1) * LONGEST_MICROS[interval])
    found = buckets(start, moment, interval, zone) if start < moment else []
    return tuple(unit for unit in found if unit[1] <= moment)[-count:]


def grid_of(
    violations: Violations,
    points: Sequence[pb.SeriesPoint],
    interval: Interval,
    zone: "ZoneInfo",
) -> Grid:
    """Return the points of a request on their grid; an empty one after violations."""
    nothing = Grid((), np.empty(0), interval, zone)
    if not 1 <= len(points) <= MAXIMUM_POINTS:
        violations.add("points", f"must be 1 to {MAXIMUM_POINTS:,}, are {len(points):,}")
        return nothing
    before = len(violations)
    starts = [_start(violations, f"points[{at}]", point) for at, point in enumerate(points)]
    for at, point in enumerate(points):
        if not (math.isfinite(point.value) and abs(point.value) <= LARGEST):
            violations.add(f"points[{at}].value", f"must be finite and at most {LARGEST:g}")
        if at and starts[at] <= starts[at - 1]:
            violations.add(f"points[{at}].start_time", "must be later than that of the point before")
    if len(violations) > before:
        return nothing
    units = units_of(violations, "points", (starts[0], starts[-1] + 1), interval, zone, Limit())
    places = {start: at for at, (start, _) in enumerate(units)}
    values = np.full(len(units), np.nan)
    for at, (start, point) in enumerate(zip(starts, points, strict=True)):
        if units and start not in places:
            unit = interval.name.lower()
            violations.add(f"points[{at}].start_time", f"is not where a {unit} of {zone.key} begins")
        elif units and point.HasField("value"):
            values[places[start]] = point.value
    return Grid(units, values, interval, zone)


def _start(violations: Violations, field: str, point: pb.SeriesPoint) -> int:
    if not point.HasField("start_time"):
        violations.add(f"{field}.start_time", "is required")
        return 0
    start = instant(violations, f"{field}.start_time", point.start_time)
    if start is None:
        return 0
    if not EARLIEST <= start < LATEST:
        violations.add(f"{field}.start_time", "must lie between 1970 and 2100")
    return start


def dates_of(violations: Violations, field: str, texts: Sequence[str]) -> frozenset[date]:
    """Return the dates of a calendar."""
    if len(texts) > _MAXIMUM_DATES:
        violations.add(field, f"must be at most {_MAXIMUM_DATES:,}")
        return frozenset()
    found = set()
    for at, text in enumerate(texts):
        try:
            found.add(date.fromisoformat(text))
        except ValueError:
            violations.add(f"{field}[{at}]", "is not a date such as 2026-12-25")
    return frozenset(found)
