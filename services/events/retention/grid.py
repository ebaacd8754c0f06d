"""Retention: who of a cohort came back N days after their own entry. Sets by local day in, counts out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from pyroaring import BitMap

from services.events.retention.day_sets import DaySets


class Mode(Enum):
    """When a return counts: on day N, or from it on to the end of the range."""

    ON_DAY = "on_day"
    ON_OR_AFTER = "on_or_after"


class Entry(Enum):
    """Which start event lets in: the first of each bucket, or the first in all history."""

    RECURRING = "recurring"
    FIRST_EVER = "first_ever"


class Absence(Enum):
    """Why a ratio is absent."""

    EMPTY_COHORT = "EMPTY_COHORT"
    NOT_BEGUN = "NOT_BEGUN"
    BEYOND_RANGE = "BEYOND_RANGE"
    NO_COMPLETE_COHORT = "NO_COMPLETE_COHORT"


@dataclass(frozen=True, slots=True)
class Entrants:
    """A cohort: the days of its bucket, [first, after), and who entered on each; nobody twice."""

    first: int
    after: int
    by_day: tuple[tuple[int, BitMap], ...]

    @property
    def size(self) -> int:
        """People who entered."""
        return sum(len(users) for _, users in self.by_day)


@dataclass(frozen=True, slots=True)
class Window:
    """Where returns are looked for.

    Attributes:
        mode: when a return counts.
        after: the day after the range, behind which ON_OR_AFTER does not look.
        today: the local day it is; days before it have closed.

    """

    mode: Mode
    after: int
    today: int


@dataclass(frozen=True, slots=True)
class Cell:
    """Returns of one cohort at one offset; `absence` says why there is no ratio."""

    offset: int
    size: int
    returned: int
    complete: bool
    absence: Absence | None

    @property
    def ratio(self) -> float | None:
        """Returned ÷ size."""
        return None if self.absence else self.returned / self.size


@dataclass(frozen=True, slots=True)
class Average:
    """Returns at one offset over the complete cohorts that are not empty."""

    offset: int
    cohorts: int
    users: int
    returned: int

    @property
    def ratio(self) -> float | None:
        """Returned ÷ users."""
        return self.returned / self.users if self.users else None


def entrants(
    starts: DaySets, cohorts: Iterable[tuple[int, int]], entry: Entry, before: BitMap
) -> list[Entrants]:
    """Return who entered each cohort, and on which day.

    Args:
        starts: who did a start event on each day.
        cohorts: [first day, day after the last) of each, disjoint and in order.
        entry: which start event lets in.
        before: who did one before the first cohort.

    """
    seen = before
    result = []
    for first, after in cohorts:
        if entry is Entry.RECURRING:
            seen = BitMap()
        by_day = []
        for day in range(first, after):
            users = starts.of(day) - seen
            if users:
                by_day.append((day, users))
                seen = seen | users
        result.append(Entrants(first, after, tuple(by_day)))
    return result


def grid(
    cohorts: Sequence[Entrants], returns: DaySets, offsets: Sequence[int], window: Window
) -> list[list[Cell]]:
    """Return a row of cells for each cohort, a cell for each offset."""
    if window.mode is Mode.ON_OR_AFTER:
        returns = returns.until(window.after).and_later()
    return [[_cell(cohort, returns, offset, window) for offset in offsets] for cohort in cohorts]


def averages(cells: Sequence[Sequence[Cell]], offsets: Sequence[int]) -> list[Average]:
    """Return for each offset the returns over complete cells; every person weighs the same."""
    result = []
    for column, offset in enumerate(offsets):
        complete = [row[column] for row in cells if row[column].complete and row[column].size]
        users = sum(cell.size for cell in complete)
        returned = sum(cell.returned for cell in complete)
        result.append(Average(offset, len(complete), users, returned))
    return result


def _cell(cohort: Entrants, returns: DaySets, offset: int, window: Window) -> Cell:
    returned = sum(users.intersection_cardinality(returns.of(day + offset)) for day, users in cohort.by_day)
    last = (cohort.by_day[-1][0] if cohort.by_day else cohort.after - 1) + offset
    complete = cohort.after <= window.today and last < window.today
    if window.mode is Mode.ON_OR_AFTER:
        complete = complete and last < window.after
    return Cell(offset, cohort.size, returned, complete, _absence(cohort, offset, window))


def _absence(cohort: Entrants, offset: int, window: Window) -> Absence | None:
    if not cohort.by_day:
        return Absence.EMPTY_COHORT
    earliest = cohort.by_day[0][0] + offset
    if window.mode is Mode.ON_OR_AFTER and earliest >= window.after:
        return Absence.BEYOND_RANGE
    return Absence.NOT_BEGUN if earliest > window.today else None
