"""Folding groups into roll-ups against a recount of the events."""

from functools import reduce
from operator import add
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from services.events.rollups.deltas import NO_VALUE, Groups, group
from services.events.rollups.fold import ANY_EVENT, Rollup, bitmap, fold, known, people, with_any_event
from tests.services.events.test_deltas import DAY, HOUR, LARGEST, Event, columns, events

Slots = dict[tuple[int, int], tuple[int, int, int, frozenset[int]]]

deltas = st.lists(events, min_size=1, max_size=4)


def recounted(rows: list[Event], slot: str) -> Slots:
    kept: dict[tuple[int, int], list[Event]] = {}
    for row in rows:
        kept.setdefault((row.event_key, getattr(row, slot)), []).append(row)
    return {names: _reduced(members) for names, members in kept.items()}


def _reduced(members: list[Event]) -> tuple[int, int, int, frozenset[int]]:
    return (
        len(members),
        sum(each.value for each in members if each.value != NO_VALUE),
        sum(each.share for each in members) % 2**64,
        frozenset(each.user_key for each in members),
    )


def plain(rollup: Rollup) -> tuple[int, int, int, frozenset[int]]:
    return rollup.events, rollup.value_sum, rollup.revision, frozenset(rollup.users)


def joined(parts: list[list[Event]]) -> Groups:
    return Groups.join([group(columns(rows)) for rows in parts])


@settings(max_examples=40)
@given(deltas)
def test_roll_ups_by_hour_and_by_day_are_a_recount(parts: list[list[Event]]) -> None:
    groups = joined(parts)
    rows = [row for part in parts for row in part]
    for slot, slots in (("hour", groups.hours), ("day", groups.days)):
        found = list(fold(groups, slots))
        assert {(key, number): plain(rollup) for key, number, rollup in found} == recounted(rows, slot)
        assert [(key, number) for key, number, _ in found] == sorted(recounted(rows, slot))


@settings(max_examples=40)
@given(deltas)
def test_any_event_is_the_recount_without_names(parts: list[list[Event]]) -> None:
    groups = joined(parts)
    rows = [row for part in parts for row in part]
    nameless = [row._replace(event_key=ANY_EVENT) for row in rows]
    found = {names: plain(rollup) for names, rollup in with_any_event(fold(groups, groups.days)).items()}
    assert found == recounted(rows, "day") | recounted(nameless, "day")


@settings(max_examples=40)
@given(deltas, st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_order_and_any_partition_make_the_same_roll_ups(
    parts: list[list[Event]], random: Random, number: int
) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)
    folds = [joined(shuffled[start::number]) for start in range(min(number, len(shuffled)))]
    merged: dict[tuple[int, int], list[Rollup]] = {}
    for groups in folds:
        for names, rollup in with_any_event(fold(groups, groups.hours)).items():
            merged.setdefault(names, []).append(rollup)
    whole = joined(parts)
    expected = with_any_event(fold(whole, whole.hours))
    assert {names: plain(reduce(add, rollups)) for names, rollups in merged.items()} == {
        names: plain(rollup) for names, rollup in expected.items()
    }


def test_adding_leaves_both_sides_as_they_were() -> None:
    one, other = Rollup(1, 10, 2**64 - 1, BitMap([1])), Rollup(2, -30, 5, BitMap([1, 2]))
    assert plain(one + other) == (3, -20, 4, frozenset({1, 2}))
    assert plain(one) == (1, 10, 2**64 - 1, frozenset({1}))
    assert plain(other) == (2, -30, 5, frozenset({1, 2}))


def test_a_fold_of_many_large_deltas_does_not_overflow() -> None:
    groups = group(columns([Event(1, 1, LARGEST, 2**63, DAY, HOUR)] * 5_000))
    folded = Groups.join([groups] * 2_000)  # 10⁷ times 10¹⁸
    [(_, _, rollup)] = fold(folded, folded.days)
    assert plain(rollup) == (10_000_000, 10**25, 0, frozenset({1}))


def test_nothing_folds_to_nothing() -> None:
    groups = group(columns([Event(1, 1, 1, 1, DAY, HOUR)])).take(np.array([], np.intp))
    assert list(fold(groups, groups.days)) == []


@given(
    st.sets(st.integers(1, 2**31 - 1) | st.sampled_from([2**29 - 1, 2**29, 2**30 - 1, 2**30]), max_size=20)
)
def test_people_and_known_users_are_told_apart_by_their_keys(keys: set[int]) -> None:
    users = bitmap(np.array(sorted(keys), np.int32))
    assert set(users) == keys
    # The bounds of the sequences that make the keys.
    assert known(users) == sum(key <= 536_870_911 for key in keys)
    assert people(users) == sum(key <= 1_073_741_823 for key in keys)
    rollup = Rollup(len(keys), 0, 0, users)
    assert (rollup.known, rollup.people) == (known(users), people(users))
