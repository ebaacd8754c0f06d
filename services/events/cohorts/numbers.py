"""Counts a cohort as it is now."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroaring import BitMap

from services.events.domain import Population, Selection
from services.events.retention.day_sets import DaySets
from services.events.retention.grid import Average, Entrants, Entry, Mode, Window, averages, entrants, grid
from services.events.retention.questions import DEFAULT_OFFSETS, day_of
from services.events.retention.reading import days_between, read_sets, read_sets_since_ever, sets_by_day
from services.events.retention.returns import DAYS_AHEAD

if TYPE_CHECKING:
    from services.events.cohorts.cohort import Definition
    from services.events.reading.store import CellStore

ACTIVE_DAYS = (1, 7, 30)


@dataclass(frozen=True, slots=True)
class Numbers:
    """People in a cohort, those active today and on the 7 and the 30 days ending today, and their returns."""

    users: int
    active: tuple[int, ...]
    retention: list[Average]


def count(store: "CellStore", definition: "Definition", now: int) -> Numbers:
    """Find the people of a cohort and count them."""
    today = day_of(now, definition.zone)
    cohorts = _entrants(store, definition, today)
    members = BitMap.union(*(users for each in cohorts for _, users in each.by_day), BitMap())
    active = _activity(store, definition, cohorts[0].first, today)
    window = Window(Mode.ON_DAY, cohorts[-1].after, today)
    return Numbers(
        users=len(members),
        active=tuple(
            members.intersection_cardinality(
                BitMap.union(*(active.of(day) for day in range(today - days + 1, today + 1)))
            )
            for days in ACTIVE_DAYS
        ),
        retention=averages(grid(cohorts, active, DEFAULT_OFFSETS, window), DEFAULT_OFFSETS),
    )


def _entrants(store: "CellStore", definition: "Definition", today: int) -> list[Entrants]:
    """Return who entered on each day of the range, each person once."""
    first = day_of(definition.start, definition.zone)
    after = max(min(day_of(definition.end - 1, definition.zone) + 1, today + DAYS_AHEAD), first + 1)
    days = [
        (max(low, definition.start), max(min(high, definition.end), low))
        for low, high in days_between(first, after, definition.zone)
    ]
    buckets = [day for day in days if day[0] < day[1]]
    if definition.entry is Entry.FIRST_EVER:
        before, sets = read_sets_since_ever(store, buckets, definition.starts, Population.PEOPLE)
    else:
        before, sets = BitMap(), read_sets(store, buckets, definition.starts, Population.PEOPLE)
    starts = sets_by_day(first, days, sets)
    # Whoever entered on an earlier day of the range is in the cohort already, so entries are first ones.
    return entrants(starts, [(day, day + 1) for day in range(first, after)], Entry.FIRST_EVER, before)


def _activity(store: "CellStore", definition: "Definition", first: int, today: int) -> DaySets:
    """Return who did anything on the days after each entry, and lately; days between are left empty."""
    last_entry = min(day_of(definition.end - 1, definition.zone), today)
    wanted = set(range(first, min(last_entry + DEFAULT_OFFSETS[-1], today) + 1))
    wanted |= set(range(today - ACTIVE_DAYS[-1] + 1, today + 1))
    start = min(wanted)
    days = [
        day if start + position in wanted else (day[0], day[0])
        for position, day in enumerate(days_between(start, today + 1, definition.zone))
    ]
    sets = read_sets(store, [day for day in days if day[0] < day[1]], Selection(), Population.PEOPLE)
    return sets_by_day(start, days, sets)
