"""Reads what a retention grid is made of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroaring import BitMap

from services.events.retention.day_sets import DaySets
from services.events.retention.grid import Cell, Entrants, Entry, Mode, Window, entrants, grid
from services.events.retention.questions import RetentionQuestion, day_of
from services.events.retention.reading import days_between, read_sets, read_sets_since_ever, sets_by_day

if TYPE_CHECKING:
    from services.events.domain import Selection
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
    today = day_of(now, question.zone)
    first, after = question.cohorts[0][0], question.cohorts[-1][1]
    last_wanted = after if question.mode is Mode.ON_OR_AFTER else after + question.offsets[-1]
    end_of_events = max(today + DAYS_AHEAD, first + 1)
    reader = _Reader(store, question)
    if question.starts == question.returns:
        before, starts = reader.starts(first, min(max(after, last_wanted), end_of_events))
        returns = starts
    else:
        before, starts = reader.starts(first, min(after, end_of_events))
        returns = reader.sets(question.returns, first, min(last_wanted, end_of_events))
    cohorts = entrants(starts, question.cohorts, question.entry, before)
    window = Window(question.mode, after, today)
    return Grid(cohorts, grid(cohorts, returns, question.offsets, window))


@dataclass(frozen=True, slots=True)
class _Reader:
    store: "CellStore"
    question: RetentionQuestion

    def starts(self, first: int, after: int) -> tuple[BitMap, DaySets]:
        """Return who did a start event before the day `first`, if that matters, and on each day."""
        question = self.question
        if question.entry is Entry.RECURRING:
            return BitMap(), self.sets(question.starts, first, after)
        days = days_between(first, after, question.zone)
        before, sets = read_sets_since_ever(
            self.store, [day for day in days if day[0] < day[1]], question.starts, question.population
        )
        return before, sets_by_day(first, days, sets)

    def sets(self, selection: "Selection", first: int, after: int) -> DaySets:
        """Return who did a selected event on each day."""
        days = days_between(first, after, self.question.zone)
        buckets = [day for day in days if day[0] < day[1]]
        sets = read_sets(self.store, buckets, selection, self.question.population)
        return sets_by_day(first, days, sets)
