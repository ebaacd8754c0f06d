"""Trailing windows of days against unions made one by one."""

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from services.events.reading.active import trailing_unions

days = st.lists(st.sets(st.integers(1, 40) | st.integers(2**30, 2**31 - 1), max_size=6), max_size=40)


@given(days, st.integers(1, 12) | st.sampled_from([30, 40, 41]))
def test_each_window_is_the_union_of_its_days(sets: list[set[int]], width: int) -> None:
    expected = [set[int]().union(*sets[end - width : end]) for end in range(width, len(sets) + 1)]
    assert [set(union) for union in trailing_unions([BitMap(day) for day in sets], width)] == expected


@given(days, st.integers(1, 7))
def test_the_days_themselves_are_left_as_they_are(sets: list[set[int]], width: int) -> None:
    bitmaps = [BitMap(day) for day in sets]
    for union in trailing_unions(bitmaps, width):
        union.add(99)
    # With a width of one day a window may be the day itself, which the caller then holds twice.
    if width > 1:
        assert [set(day) for day in bitmaps] == sets
