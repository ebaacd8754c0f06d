"""Days active, counted by sets of bits, against counting each person's days."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from services.events.retention.stickiness import people_by_days

days = st.lists(st.sets(st.integers(1, 12) | st.integers(2**30, 2**31 - 1), max_size=12), max_size=31)


@given(days)
def test_people_are_told_apart_by_their_number_of_days(sets: list[set[int]]) -> None:
    number_of_days = Counter(person for day in sets for person in day)
    people = Counter(number_of_days.values())
    expected = [people[number] for number in range(1, len(sets) + 1)]
    assert people_by_days([BitMap(day) for day in sets]) == expected


def test_people_active_every_day_of_a_month_are_in_the_last_place() -> None:
    assert people_by_days([BitMap([7])] * 31) == [0] * 30 + [1]
