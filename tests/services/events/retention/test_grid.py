"""The grid by itself, over sets of days, whatever was read around them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from services.events.retention.day_sets import DaySets
from services.events.retention.grid import Entry, Mode, Window, entrants, grid

people = st.sets(st.integers(1, 6))
days = st.lists(people, max_size=12)


def first_day(starts: list[set[int]], person: int, among: range) -> int | None:
    return next((day for day in among if day < len(starts) and person in starts[day]), None)


@given(days, days, st.sets(st.integers(1, 6)), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_cohorts_of_any_lengths_are_those_of_each_person(
    starts: list[set[int]], returns: list[set[int]], before: set[int], lengths: list[int], data: st.DataObject
) -> None:
    bounds = [sum(lengths[:number]) for number in range(len(lengths) + 1)]
    cohorts = list(pairwise(bounds))
    mode, entry = data.draw(st.sampled_from(Mode)), data.draw(st.sampled_from(Entry))
    offset = data.draw(st.integers(0, 8))
    first_ever = entry is Entry.FIRST_EVER
    found = entrants(
        DaySets(0, list(map(BitMap, starts))), cohorts, entry, BitMap(before if first_ever else ())
    )
    window = Window(mode, bounds[-1], today=20)
    cells = grid(found, DaySets(0, list(map(BitMap, returns))), [offset], window)
    for cohort, cell, (first, after) in zip(found, cells, cohorts, strict=True):
        entered = {}
        for person in range(1, 7):
            day = first_day(starts, person, range(first, after))
            if first_ever and (person in before or first_day(starts, person, range(first)) is not None):
                day = None
            if day is not None:
                entered[person] = day
        assert cohort.size == len(entered)
        assert cell[0].returned == sum(
            any(
                person in returns[when]
                for when in range(day + offset, bounds[-1] if mode is Mode.ON_OR_AFTER else day + offset + 1)
                if when < len(returns)
            )
            for person, day in entered.items()
        )


def test_nothing_behind_the_range_is_a_return() -> None:
    entered = entrants(DaySets(0, [BitMap([1])]), [(0, 1)], Entry.RECURRING, BitMap())
    returns = DaySets(0, [BitMap(), BitMap([1])])
    [[on_day]] = grid(entered, returns, [1], Window(Mode.ON_DAY, 1, today=9))
    [[or_after]] = grid(entered, returns, [0], Window(Mode.ON_OR_AFTER, 1, today=9))
    assert (on_day.returned, or_after.returned) == (1, 0)
