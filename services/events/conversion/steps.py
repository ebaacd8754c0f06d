"""A conversion's two steps, read from the columns of their events."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.events.conversion.matching import delays
from services.events.domain import Population
from services.events.reading.column_cache import Step
from services.events.reading.columns import Columns
from services.events.rollups.fold import FIRST_ANONYMOUS_KEY, FIRST_SESSION_KEY
from shared.calendar import DAY_MICROS

if TYPE_CHECKING:
    from services.events.reading.column_cache import ColumnCache

# After every event there can be: 2100-01-01.
_LATEST_DAY = 47_482
_BELOW = {Population.KNOWN: FIRST_ANONYMOUS_KEY, Population.PEOPLE: FIRST_SESSION_KEY}


@dataclass(frozen=True, slots=True)
class Conversion:
    """From one step to another within a window (µs, None for no limit); the range bounds start events."""

    start: Step
    end: Step
    window: int | None
    time_range: tuple[int, int]
    population: Population = Population.ACTORS
    first_only: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """The start events of a conversion, and the µs to the end event each converts by (NONE: none)."""

    starts: Columns
    delays: NDArray[np.int64]


def read_matched(cache: "ColumnCache", conversion: Conversion) -> Matched:
    """Read both steps, and match them."""
    first, after = conversion.time_range
    start_days = days_of(first, after)
    end_days = start_days[0], _LATEST_DAY
    if conversion.window is not None:
        end_days = days_of(first, min(after + conversion.window, _LATEST_DAY * DAY_MICROS))
    starts = cache.read(conversion.start, start_days)
    starts = starts.take((starts.times >= first) & (starts.times < after))
    starts = of_population(starts, conversion.population)
    ends = cache.read(conversion.end, end_days)
    return Matched(starts, delays(starts, ends, _shared(cache, conversion, start_days), conversion.window))


def _shared(cache: "ColumnCache", conversion: Conversion, days: tuple[int, int]) -> Columns:
    """Return the events that are a start and an end.

    They are read last: an event stored meanwhile is missed as a step rather than taken for two.
    """
    start, end = conversion.start, conversion.end
    if start.event != end.event:
        return Columns(np.empty(0, np.int32), np.empty(0, np.int64))
    known = {repr(condition) for condition in start.conditions}
    further = tuple(condition for condition in end.conditions if repr(condition) not in known)
    return cache.read(Step(start.event, start.conditions + further), days)


def of_population(columns: Columns, population: Population) -> Columns:
    """Return the events of those who are counted."""
    if population is Population.ACTORS:
        return columns
    return columns.take(columns.user_keys < _BELOW[population])


def days_of(start: int, end: int) -> tuple[int, int]:
    """Return the half-open range of UTC days that [start, end), in Unix µs, touches."""
    return start // DAY_MICROS, -(-end // DAY_MICROS)
