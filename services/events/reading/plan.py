"""A plan: which roll-ups and raw events answer for a list of buckets, and which bucket each is in."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.events.rollups.cover import Cover, ReportingCalendar, cover, cover_by_days
from shared.calendar import HOUR_MICROS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOWHERE = -1


@dataclass(frozen=True)
class Plan:
    """Disjoint buckets in order, [start, end) in Unix µs, and the cover of each."""

    buckets: tuple[tuple[int, int], ...]
    covers: tuple[Cover, ...]

    @classmethod
    def of(cls, buckets: "Sequence[tuple[int, int]]", calendar: ReportingCalendar) -> "Plan":
        """Plans the buckets, which are disjoint and in order."""
        return cls(tuple(buckets), tuple(cover(start, end, calendar) for start, end in buckets))

    @classmethod
    def by_days(cls, buckets: "Sequence[tuple[int, int]]", calendar: ReportingCalendar) -> "Plan":
        """Plans the buckets where there are no roll-ups by hour."""
        return cls(tuple(buckets), tuple(cover_by_days(start, end, calendar) for start, end in buckets))

    @property
    def is_one_slot_each(self) -> bool:
        """Whether each bucket is one roll-up by day or by hour, whose stored counts answer without sets."""
        return all(_is_one_slot(each) for each in self.covers)

    @cached_property
    def days(self) -> tuple[int, int]:
        """The first day and the day after the last of all buckets."""
        days = [each.days for each in self.covers if each.days]
        return (days[0][0], days[-1][1]) if days else (0, 0)

    @cached_property
    def hours(self) -> list[tuple[int, int]]:
        """The ranges of hours, adjacent ones joined."""
        return _joined(chain.from_iterable(each.hours for each in self.covers))

    @cached_property
    def raw(self) -> list[tuple[int, int, int]]:
        """Each sliver to be read from raw events, and its bucket."""
        return [(start, end, bucket) for bucket, each in enumerate(self.covers) for start, end in each.raw]

    @property
    def span_hours(self) -> tuple[int, int]:
        """UTC hours that touch the buckets: the first, and the hour after the last."""
        if not self.buckets:
            return 0, 0
        return self.buckets[0][0] // HOUR_MICROS, -(-self.buckets[-1][1] // HOUR_MICROS)

    def bucket_of_days(self, days: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the bucket that covers each whole day, or NOWHERE."""
        return _look_up(days, self.days[0], self._day_buckets)

    def bucket_of_hours(self, hours: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the bucket that covers each whole hour, or NOWHERE (as for those within whole days)."""
        return _look_up(hours, self.span_hours[0], self._hour_buckets)

    @cached_property
    def _day_buckets(self) -> NDArray[np.int32]:
        first, last = self.days
        return _table(
            first, last, ((bucket, *each.days) for bucket, each in enumerate(self.covers) if each.days)
        )

    @cached_property
    def _hour_buckets(self) -> NDArray[np.int32]:
        spans = ((bucket, *hours) for bucket, each in enumerate(self.covers) for hours in each.hours)
        return _table(*self.span_hours, spans)

    def parameters(self) -> dict[str, Any]:
        """Return the values of the statements' parameters."""
        first_hour, last_hour = self.span_hours
        return {
            "first_day": self.days[0],
            "last_day": self.days[1],
            "hour_starts": [start for start, _ in self.hours],
            "hour_ends": [end for _, end in self.hours],
            "first_hour": first_hour,
            "last_hour": last_hour,
        }


def _is_one_slot(each: Cover) -> bool:
    days = each.days[1] - each.days[0] if each.days else 0
    return not each.raw and days + sum(end - start for start, end in each.hours) == 1


def _joined(ranges: "Iterable[tuple[int, int]]") -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _table(first: int, last: int, spans: "Iterable[tuple[int, int, int]]") -> NDArray[np.int32]:
    table = np.full(last - first, NOWHERE, np.int32)
    for bucket, start, end in spans:
        table[start - first : end - first] = bucket
    return table


def _look_up(slots: NDArray[np.int32], first: int, table: NDArray[np.int32]) -> NDArray[np.int32]:
    positions = slots - first
    inside = (positions >= 0) & (positions < len(table))
    found = np.full(len(slots), NOWHERE, np.int32)
    found[inside] = table[positions[inside]]
    return found
