"""Life cycles against the definitions, person by person."""

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from services.events.retention.lifecycle import Lifecycle, lifecycles, newcomers

people = st.sets(st.integers(1, 8))


def expected(history: list[set[int]], period: int) -> Lifecycle:
    """Look at each person's whole history."""
    kinds = {"new": 0, "returning": 0, "resurrected": 0, "dormant": 0}
    for person in range(1, 9):
        now, before = person in history[period], person in history[period - 1]
        ever = any(person in each for each in history[:period])
        if now:
            kinds["returning" if before else "resurrected" if ever else "new"] += 1
        elif before:
            kinds["dormant"] += 1
    return Lifecycle(active=len(history[period]), **kinds)


@given(st.lists(people, min_size=2, max_size=8))
def test_each_person_of_a_period_is_new_returning_or_resurrected(history: list[set[int]]) -> None:
    before, previous, *periods = map(BitMap, history)
    found = lifecycles(before, previous, periods)
    assert found == [expected(history, period) for period in range(2, len(history))]
    assert all(each.active == each.new + each.returning + each.resurrected for each in found)


@given(people, st.lists(people, max_size=8))
def test_everybody_is_new_once(before: set[int], periods: list[set[int]]) -> None:
    found = newcomers(BitMap(before), list(map(BitMap, periods)))
    seen = set(before)
    for period, new in zip(periods, found, strict=True):
        assert set(new) == period - seen
        seen |= period
