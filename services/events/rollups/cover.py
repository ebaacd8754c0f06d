"""Which roll-ups answer for a range of time exactly, and which slivers must be read from raw events.

A range is covered by whole reporting days, then whole UTC hours, then what is left of hours at its edges:
ranges that begin at :30 or :45, as days do in zones with such offsets.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.calendar import HOUR_MICROS, day_number, day_of_number, day_start

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

# Events lie between 2000 and a day from now; a range may reach further.
_FIRST, _LAST = date(1999, 12, 30), date(2101, 1, 1)


@dataclass(frozen=True, slots=True)
class Cover:
    """Disjoint parts that make up a range. Half-open: days by number, hours since 1970, instants in µs."""

    days: tuple[int, int] | None
    hours: tuple[tuple[int, int], ...]
    raw: tuple[tuple[int, int], ...]


class ReportingCalendar:
    """The boundaries of every reporting day that can hold events, computed once."""

    def __init__(self, zone: "ZoneInfo") -> None:
        self.zone = zone
        self._first_day = day_number(_FIRST)
        days = range(self._first_day, day_number(_LAST))
        self._starts = [day_start(day_of_number(day), zone) for day in days]
        self._starts_array = np.array(self._starts, np.int64)

    def whole_days(self, start: int, end: int) -> tuple[int, int, int, int]:
        """Return (first day, day after the last, where they begin, where they end) inside the range."""
        first, last = bisect_left(self._starts, start), bisect_right(self._starts, end) - 1
        if first >= last:
            return 0, 0, start, start
        return self._first_day + first, self._first_day + last, self._starts[first], self._starts[last]

    def days_of(self, times: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the reporting day of each instant."""
        positions = np.searchsorted(self._starts_array, times, side="right") - 1
        return (positions + self._first_day).astype(np.int32)


def cover(start: int, end: int, calendar: ReportingCalendar) -> Cover:
    """Return the cheapest exact cover of [start, end)."""
    first, last, inner_start, inner_end = calendar.whole_days(start, end)
    edges = [(start, end)] if first == last else [(start, inner_start), (inner_end, end)]
    hours: list[tuple[int, int]] = []
    raw: list[tuple[int, int]] = []
    for low, high in edges:
        if low < high:
            _cover_edge(low, high, hours, raw)
    return Cover((first, last) if first < last else None, tuple(hours), tuple(raw))


def cover_by_days(start: int, end: int, calendar: ReportingCalendar) -> Cover:
    """Return the cover of [start, end) where there are no roll-ups by hour."""
    first, last, inner_start, inner_end = calendar.whole_days(start, end)
    edges = [(start, end)] if first == last else [(start, inner_start), (inner_end, end)]
    return Cover(
        (first, last) if first < last else None, (), tuple((low, high) for low, high in edges if low < high)
    )


def _cover_edge(low: int, high: int, hours: list[tuple[int, int]], raw: list[tuple[int, int]]) -> None:
    first, last = -(-low // HOUR_MICROS), high // HOUR_MICROS
    if first > last:  # within one hour
        raw.append((low, high))
        return
    if first < last:
        hours.append((first, last))
    raw.extend(
        (edge_start, edge_end)
        for edge_start, edge_end in ((low, first * HOUR_MICROS), (last * HOUR_MICROS, high))
        if edge_start < edge_end
    )
