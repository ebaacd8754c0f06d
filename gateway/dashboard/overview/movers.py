"""Events that happened clearly more or less often than in as many days before."""

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean, variance
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2

from gateway.dashboard.page import formats, scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.dashboard.page.scope import Scope

# Of the most frequent events.
_EVENTS: Final = 20
# Fewer days tell little, more are answered by the trend.
_LEAST_DAYS, _MOST_DAYS = 7, 100
_LEAST_EVENTS: Final = 50
# Of the difference of the means of a day, by Welch (1947): so far apart by chance about once in three
# hundred times, and less often where weekdays differ, for that widens the error.
_STANDARD_ERRORS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Mover:
    """An event, how often it happened on whole days and on those `shift` before, and which days those are."""

    event: str
    events: int
    earlier: int
    first: date
    last: date
    shift: timedelta

    @property
    def change_ratio(self) -> float:
        """(events - earlier) / earlier; infinite for one that was not there before."""
        return (self.events - self.earlier) / self.earlier if self.earlier else math.inf


def request(shown: "Scope") -> events_pb2.CountEventsRequest | None:
    """Return the question for the days and those before; None where they are too few or too many."""
    if not _LEAST_DAYS <= shown.days <= _MOST_DAYS:
        return None
    return events_pb2.CountEventsRequest(
        time_range=scope.days_range(shown.previous().first, shown.last, shown.zone),
        time_zone=shown.zone.key,
        interval=common_pb2.INTERVAL_DAY,
        group_by=events_pb2.COUNT_GROUP_EVENT,
        page_size=_EVENTS,
    )


def movers(answer: events_pb2.CountEventsResponse, shown: "Scope") -> tuple[Mover, ...]:
    """Return the events that moved, the largest change first."""
    counts: dict[str, dict[date, int]] = defaultdict(dict)
    complete: set[date] = set()
    for count in answer.counts:
        day = formats.date_of(count.start_time, shown.zone)
        counts[count.group][day] = count.events
        if count.complete:
            complete.add(day)
    days = sorted(day for day in complete if day >= shown.first)
    if len(days) < _LEAST_DAYS:
        return ()
    found = [
        one for event, by_day in counts.items() if (one := _mover(event, by_day, days, shown)) is not None
    ]
    return tuple(sorted(found, key=lambda one: (-abs(one.change_ratio), one.event)))


def _mover(event: str, by_day: "Mapping[date, int]", days: "Sequence[date]", shown: "Scope") -> Mover | None:
    shift = timedelta(days=shown.days)
    now = [by_day.get(day, 0) for day in days]
    before = [by_day.get(day - shift, 0) for day in days]
    if max(sum(now), sum(before)) < _LEAST_EVENTS or not differ(now, before):
        return None
    return Mover(event, sum(now), sum(before), days[0], days[-1], shift)


def differ(now: "Sequence[int]", before: "Sequence[int]") -> bool:
    """Return whether the means are more than three standard errors of their difference apart."""
    error = math.sqrt(variance(now) / len(now) + variance(before) / len(before))
    return abs(fmean(now) - fmean(before)) > _STANDARD_ERRORS * error
