"""Which windows are closed when, and which of a series is judged. Pure.

Windows are the units of the local calendar: fixed, whoever looks and whenever. Instants are Unix
microseconds.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from shared.calendar import DAY_MICROS, HOUR_MICROS, Interval, buckets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

# What durations are counted in: calendar units as long as they mostly are.
NOMINAL_MICROS = {
    Interval.HOUR: HOUR_MICROS,
    Interval.DAY: DAY_MICROS,
    Interval.WEEK: 7 * DAY_MICROS,
    Interval.MONTH: 30 * DAY_MICROS,
}
# Longer than any unit: two changes of clocks, months of 31 days.
_LONGEST_MICROS = {
    Interval.HOUR: 3 * HOUR_MICROS,
    Interval.DAY: 2 * DAY_MICROS,
    Interval.WEEK: 8 * DAY_MICROS,
    Interval.MONTH: 32 * DAY_MICROS,
}


# Alerts that come due together ask the same of the same calendar.
_REMEMBERED = 4_096


@lru_cache(_REMEMBERED)
def _last_closed(interval: Interval, zone: "ZoneInfo", until: int) -> tuple[int, int]:
    whole = buckets(until - 2 * _LONGEST_MICROS[interval], until, interval, zone)
    return next(window for window in reversed(whole) if window[1] <= until)


@lru_cache(_REMEMBERED)
def _end(interval: Interval, zone: "ZoneInfo", instant: int) -> int:
    [*_, (_, end)] = buckets(instant, instant + 1, interval, zone)
    return end


@dataclass(frozen=True, slots=True)
class Grid:
    """The windows of an alert: the unit, its calendar, and how long a window waits for late data."""

    interval: Interval
    zone: "ZoneInfo"
    grace_micros: int = 0

    def windows(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return [start, end) of every window that touches the range, in order."""
        return buckets(start, end, self.interval, self.zone)

    def last_closed(self, now: int) -> tuple[int, int]:
        """Return the latest window whose grace is over."""
        return _last_closed(self.interval, self.zone, now - self.grace_micros)

    def next_close(self, now: int) -> int:
        """Return when the next window can be judged: its end and its grace."""
        return _end(self.interval, self.zone, now - self.grace_micros) + self.grace_micros

    def end(self, instant: int) -> int:
        """Return the end of the window that an instant lies in."""
        return _end(self.interval, self.zone, instant)

    def back(self, start: int, count: int) -> int:
        """Return where the window begins that lies `count` before the one that begins at `start`."""
        if count == 0:
            return start
        reach = start - (count + 1) * _LONGEST_MICROS[self.interval]
        return self.windows(reach, start)[-count][0]


@dataclass(frozen=True, slots=True)
class Point:
    """A window of a series as its source answered it."""

    start: int
    value: float | None
    sample: int
    complete: bool


def newest_complete(points: "Sequence[Point]", after: int) -> int | None:
    """Return the position of the latest complete point that begins at or after an instant."""
    found = [place for place, point in enumerate(points) if point.complete and point.start >= after]
    return found[-1] if found else None
