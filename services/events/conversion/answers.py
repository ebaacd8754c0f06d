"""Conversion answers: what was matched, counted and as messages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.events.v1 import conversion_pb2 as pb

from services.events.conversion.matching import Attempts, best_attempts
from services.events.conversion.rates import Rate, rates
from services.events.domain import Population
from services.events.messages import zone_name
from shared.pagination import encode_token
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from services.events.conversion.questions import ConversionQuestion
    from services.events.conversion.steps import Matched
    from services.events.reading.counting import GroupPage

# Start events without the property sort behind every JSON text.
_ABSENT = "~"
_POPULATION_NUMBERS = {
    Population.ACTORS: pb.CONVERSION_POPULATION_ACTORS,
    Population.PEOPLE: pb.CONVERSION_POPULATION_PEOPLE,
    Population.KNOWN: pb.CONVERSION_POPULATION_KNOWN,
}


def conversion_answer(
    request: pb.GetConversionRateRequest, question: "ConversionQuestion", matched: "Matched", now: int
) -> pb.GetConversionRateResponse:
    """Return the whole answer."""
    conversion = question.conversion
    counted = Counted(question, matched, now)
    answer = pb.GetConversionRateResponse(
        total=rate_message(counted.total()),
        complete=counted.is_complete(conversion.time_range[1]),
        points=counted.point_messages(counted.point_cells(), 1)[0],
        window_minutes=question.window_minutes,
        entry=pb.CONVERSION_ENTRY_FIRST if conversion.first_only else pb.CONVERSION_ENTRY_BEST,
        population=_POPULATION_NUMBERS[conversion.population],
        time_zone=zone_name(question.zone),
    )
    if question.page:
        _add_groups(answer, request, counted, question.page)
    return answer


class Counted:
    """Counts the attempts of a question in the whole range, by point and by group."""

    def __init__(self, question: "ConversionQuestion", matched: "Matched", now: int) -> None:
        conversion = question.conversion
        self.texts = matched.starts.texts
        self._window = conversion.window or 0
        self._now = now
        self._points = question.points

        def attempts(bounds: list[int]) -> Attempts:
            return best_attempts(matched.starts, matched.delays, bounds, first_only=conversion.first_only)

        self.whole = attempts([conversion.time_range[0]])
        self._pointwise = attempts([start for start, _ in question.points]) if question.points else None

    def total(self) -> Rate:
        """Return the rate of everybody in the whole range."""
        [total] = self.rates(self.whole, self.whole.buckets, 1)
        return total

    def rates(self, attempts: Attempts, cells: "NDArray[np.intp]", count: int) -> list[Rate]:
        """Return the rates of cells."""
        return rates(attempts, cells, count, self._now - self._window)

    def is_complete(self, end: int) -> bool:
        """Tell whether every window that begins before `end` is over."""
        return end + self._window <= self._now

    def point_cells(self, place: "NDArray[np.intp] | None" = None) -> "NDArray[np.intp]":
        """Return the cell of each attempt: its point; of a group at a place, among the points of that place.

        place: of each group, below 0 where it is not asked for.
        """
        if self._pointwise is None:
            return np.empty(0, np.intp)
        if place is None:
            return self._pointwise.buckets
        places = place[self._pointwise.groups]
        cells: NDArray[np.intp] = np.where(
            places < 0, -1, places * len(self._points) + self._pointwise.buckets
        )
        return cells

    def point_messages(self, cells: "NDArray[np.intp]", places: int) -> list[list[pb.ConversionPoint]]:
        """Return the points of each place."""
        if self._pointwise is None:
            return [[] for _ in range(places)]
        width = len(self._points)
        found = self.rates(self._pointwise, cells, places * width)
        return [
            [
                pb.ConversionPoint(
                    start_time=from_micros(start), rate=rate_message(rate), complete=self.is_complete(end)
                )
                for (start, end), rate in zip(
                    self._points, found[place * width : (place + 1) * width], strict=True
                )
            ]
            for place in range(places)
        ]


@dataclass(frozen=True, slots=True)
class _Group:
    code: int
    key: str
    starters: int

    @property
    def position(self) -> tuple[int, str]:
        return -self.starters, self.key


def _add_groups(
    answer: pb.GetConversionRateResponse,
    request: pb.GetConversionRateRequest,
    counted: Counted,
    page: "GroupPage",
) -> None:
    groups = _groups(counted)
    answer.group_count = len(groups)
    if page.after:
        after = -page.after[0], page.after[1]
        groups = [group for group in groups if group.position > after]
    shown, behind = groups[: page.limit], groups[page.limit :]
    place = _places(counted, [[group] for group in shown] + [behind])
    whole = counted.rates(counted.whole, place[counted.whole.groups], len(shown) + 1)
    place[[group.code for group in behind]] = -1
    points = counted.point_messages(counted.point_cells(place), len(shown))
    for group, rate, series in zip(shown, whole, points, strict=False):
        message = answer.groups.add(rate=rate_message(rate), points=series)
        if group.key != _ABSENT:
            message.group = group.key
    if behind:
        answer.rest.CopyFrom(rate_message(whole[-1]))
        answer.next_page_token = encode_token(request, [shown[-1].starters, shown[-1].key])


def _groups(counted: Counted) -> list[_Group]:
    """Return the groups that have starters, in order."""
    keys = [*counted.texts, _ABSENT]
    starters = np.bincount(counted.whole.groups, minlength=len(keys)).tolist()
    groups = [_Group(code, keys[code], number) for code, number in enumerate(starters) if number]
    return sorted(groups, key=lambda group: group.position)


def _places(counted: Counted, places: list[list[_Group]]) -> "NDArray[np.intp]":
    """Return the place of each group, below 0 of those that have none."""
    place = np.full(len(counted.texts) + 1, -1, np.intp)
    for number, groups in enumerate(places):
        place[[group.code for group in groups]] = number
    return place


def rate_message(rate: Rate) -> pb.ConversionRate:
    """Return a rate, and why numbers are absent."""
    reason = "" if rate.converters else "NO_CONVERTERS" if rate.starters else "NO_STARTERS"
    return pb.ConversionRate(
        starters=rate.starters,
        converters=rate.converters,
        conversion_ratio=rate.conversion_ratio,
        median_seconds=rate.median_seconds,
        mean_seconds=rate.mean_seconds,
        absent_reason=reason,
        open_entries=rate.open_entries,
    )
