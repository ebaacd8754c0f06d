"""Reads sets of people from cells: by local day, by period, and of all the time before."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from pyroaring import BitMap

from services.events.retention.day_sets import DaySets, of_population
from shared.calendar import day_of_number, day_start, to_micros

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from services.events.domain import Population, Selection
    from services.events.reading.store import CellStore

# No event is older.
FIRST_INSTANT = to_micros(datetime(2000, 1, 1, tzinfo=UTC))

Bucket = tuple[int, int]


def read_sets(
    store: "CellStore", buckets: Sequence[Bucket], selection: "Selection", population: "Population"
) -> list[BitMap]:
    """Return who did a selected event in each bucket; buckets follow one another without gaps."""
    cells = store.read(buckets, selection, sets=True).merged(len(buckets))
    return [of_population(cell.users or BitMap(), population) for cell in cells]


def read_sets_since_ever(
    store: "CellStore", buckets: Sequence[Bucket], selection: "Selection", population: "Population"
) -> tuple[BitMap, list[BitMap]]:
    """Return who did a selected event before the first bucket, in all history, and in each bucket."""
    start = buckets[0][0]
    if start <= FIRST_INSTANT:
        return BitMap(), read_sets(store, buckets, selection, population)
    before, *sets = read_sets(store, [(FIRST_INSTANT, start), *buckets], selection, population)
    return before, sets


def days_between(first: int, after: int, zone: "ZoneInfo") -> list[Bucket]:
    """Return [start, end) in Unix µs of the local days of these numbers; skipped days are empty."""
    bounds = [day_start(day_of_number(day), zone) for day in range(first, after + 1)]
    return list(pairwise(bounds))


def sets_by_day(first: int, days: Sequence[Bucket], sets: Sequence[BitMap]) -> DaySets:
    """Put the sets that were read for the days that are not empty into their places."""
    read = iter(sets)
    return DaySets(first, [next(read) if low < high else BitMap() for low, high in days])
