"""Who was active: trailing windows over daily sets."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from pyroaring import BitMap

from shared.calendar import day_start, local_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from zoneinfo import ZoneInfo

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TrailingDays:
    """Windows of `width` local dates, each of which ends with one of some days.

    dates: [start, end) in Unix µs of every local date from the first window's first on; empty where the zone
    skipped it, as it has its place in windows all the same.
    """

    ends: tuple[Span, ...]
    width: int
    dates: tuple[Span, ...]

    @classmethod
    def of(cls, ends: "Sequence[Span]", width: int, zone: "ZoneInfo") -> "TrailingDays":
        """Return the windows that end with some local days, given in order."""
        first = local_date(ends[0][0], zone) - timedelta(days=width - 1)
        number = (local_date(ends[-1][0], zone) - first).days + 1
        bounds = [day_start(first + timedelta(days=day), zone) for day in range(number + 1)]
        return cls(tuple(ends), width, tuple(pairwise(bounds)))

    @property
    def days(self) -> list[Span]:
        """The days that must be read: dates that exist."""
        return [date for date in self.dates if date[0] < date[1]]

    def unions(self, sets: "Iterable[BitMap]") -> list[BitMap]:
        """Return who is in each window; `sets` are those of `days`."""
        read = iter(sets)
        by_date = [next(read) if start < end else BitMap() for start, end in self.dates]
        windows = zip(self.dates[self.width - 1 :], trailing_unions(by_date, self.width), strict=True)
        by_end = {date: union for date, union in windows if date[0] < date[1]}
        return [by_end[end] for end in self.ends]


def trailing_unions(days: "Sequence[BitMap]", width: int) -> list[BitMap]:
    """Return, for each day from the width-th on, the union of the `width` days ending with it.

    Cutting the days into blocks of the width makes a window a suffix of one block and a prefix of the next:
    three unions a day whatever the width (van Herk, Pattern Recognition Letters 13, 1992).
    """
    suffixes: list[BitMap] = [BitMap()] * len(days)
    prefixes: list[BitMap] = [BitMap()] * len(days)
    for position, day in enumerate(days):
        prefixes[position] = day if position % width == 0 else prefixes[position - 1] | day
    for position in range(len(days) - 1, -1, -1):
        is_end = position % width == width - 1 or position == len(days) - 1
        suffixes[position] = days[position] if is_end else days[position] | suffixes[position + 1]
    return [
        suffixes[last - width + 1] | prefixes[last] if last % width != width - 1 else prefixes[last]
        for last in range(width - 1, len(days))
    ]
