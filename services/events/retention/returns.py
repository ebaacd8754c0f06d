"""Reads what a retention grid is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroaring import BitMap

from services.events.retention.day_sets import DaySets, of_population
from services.events.retention.grid import Cell, Entrants, Entry, Mode, Window, entrants, grid
from services.events.retention.questions import RetentionQuestion, day_of
from services.events.retention.reading import (
    FIRST_INSTANT,
    Bucket,
    days_between,
    read_sets,
    sets_by_day,
)

if TYPE_CHECKING:
    from services.events.domain import Selection
    from services.events.reading.by_property import PropertyCells
    from services.events.reading.store import CellStore

# Events may lie a day ahead of the clock, so tomorrow is the last day that can have any.
DAYS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Grid:
    """The cohorts, and a row of cells for each."""

    cohorts: list[Entrants]
    cells: list[list[Cell]]


def read_grid(store: "CellStore", question: RetentionQuestion, now: int) -> Grid:
    """Answer a retention question. Where starts and returns are the same events, by one statement."""
    reader = _Reader(store, question, day_of(now, question.zone))
    if question.starts == question.returns:
        buckets = reader.start_buckets(reader.last_wanted)
        before, starts = reader.placed(buckets, reader.sets(question.starts, buckets))
        return reader.grid(before, starts, starts)
    buckets = reader.start_buckets(reader.after)
    before, starts = reader.placed(buckets, reader.sets(question.starts, buckets))
    return reader.grid(before, starts, reader.returns())


def read_grids(
    store: "CellStore", properties: "PropertyCells", question: RetentionQuestion, now: int
) -> dict[str | None, Grid]:
    """Answer for each value of a property of the start event (JSON text; None: without it), most first."""
    if question.break_down is None:
        return {}
    reader = _Reader(store, question, day_of(now, question.zone))
    buckets = reader.start_buckets(reader.after)
    values = properties.read(question.break_down, buckets, question.starts)
    returns = reader.returns()
    grids = {}
    for value, cells in values.items():
        sets = [
            of_population(cell.users or BitMap(), question.population) for cell in cells.merged(len(buckets))
        ]
        before, starts = reader.placed(buckets, sets)
        grids[value] = reader.grid(before, starts, returns)
    return grids


@dataclass(frozen=True, slots=True)
class _Reader:
    store: "CellStore"
    question: RetentionQuestion
    today: int

    @property
    def first(self) -> int:
        return self.question.cohorts[0][0]

    @property
    def after(self) -> int:
        """The day after the last cohort, or after the last that can have events."""
        return min(self.question.cohorts[-1][1], self._end_of_events)

    @property
    def last_wanted(self) -> int:
        """The day after the last on which somebody can return."""
        after = self.question.cohorts[-1][1]
        if self.question.mode is Mode.ON_DAY:
            after += self.question.offsets[-1]
        return min(after, self._end_of_events)

    @property
    def _end_of_events(self) -> int:
        return max(self.today + DAYS_AHEAD, self.first + 1)

    def start_buckets(self, after: int) -> list[Bucket]:
        """Return the days until a day, behind all the time before where that matters."""
        days = self._days(after)
        if self.question.entry is Entry.FIRST_EVER and days[0][0] > FIRST_INSTANT:
            return [(FIRST_INSTANT, days[0][0]), *days]
        return days

    def _days(self, after: int) -> list[Bucket]:
        return [day for day in days_between(self.first, after, self.question.zone) if day[0] < day[1]]

    def sets(self, selection: "Selection", buckets: Sequence[Bucket]) -> list[BitMap]:
        """Return who did a selected event in each bucket."""
        return read_sets(self.store, buckets, selection, self.question.population)

    def placed(self, buckets: Sequence[Bucket], sets: Sequence[BitMap]) -> tuple[BitMap, DaySets]:
        """Return who did a start event before the first day, and on each day."""
        before, of_days = BitMap(), sets
        [(first_day, _)] = days_between(self.first, self.first + 1, self.question.zone)
        if buckets[0][0] < first_day:
            before, *of_days = sets
        return before, self._by_day(buckets[-1][1], of_days)

    def returns(self) -> DaySets:
        """Return who did a return event on each day."""
        days = self._days(self.last_wanted)
        return self._by_day(days[-1][1], self.sets(self.question.returns, days))

    def _by_day(self, end: int, sets: Sequence[BitMap]) -> DaySets:
        days = days_between(self.first, day_of(end, self.question.zone), self.question.zone)
        return sets_by_day(self.first, days, sets)

    def grid(self, before: BitMap, starts: DaySets, returns: DaySets) -> Grid:
        """Return the cohorts and their cells."""
        question = self.question
        cohorts = entrants(starts, question.cohorts, question.entry, before)
        window = Window(question.mode, question.cohorts[-1][1], self.today)
        return Grid(cohorts, grid(cohorts, returns, question.offsets, window))
