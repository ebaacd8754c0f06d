"""People who leave roll-ups, against sets in plain Python."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from services.events.reading.cells import Cell
from services.events.rollups.deltas import Groups, Inserted, group
from services.events.rollups.fold import Rollup, fold, with_any_event

Event = tuple[int, int, int, int]  # event type, hour, user key, value

events = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 3), st.integers(1, 4), st.integers(-(2**40), 2**40)),
    min_size=1,
    max_size=12,
)


def groups_of(made: list[Event]) -> Groups:
    types, hours, users, values = (np.array(column) for column in zip(*made, strict=True))
    return group(
        Inserted(
            event_keys=types.astype(np.int32),
            user_keys=users.astype(np.int32),
            values=values.astype(np.int64),
            shares=(values * 31 + users).astype(np.uint64),
            days=np.zeros(len(made), np.int32),
            hours=hours.astype(np.int32),
        )
    )


def rollups(groups: Groups) -> dict[tuple[int, int], Rollup]:
    return with_any_event(fold(groups, groups.hours))


def expected(made: list[Event]) -> dict[tuple[int, int], tuple[int, int, int, set[int]]]:
    slots: dict[tuple[int, int], tuple[int, int, int, set[int]]] = defaultdict(lambda: (0, 0, 0, set()))
    for kind, hour, user, value in made:
        for key in (kind, 0):
            number, total, revision, users = slots[key, hour]
            share = (value * 31 + user) % 2**64
            slots[key, hour] = number + 1, total + value, (revision + share) % 2**64, users | {user}
    return dict(slots)


@given(made=events, leaving=st.integers(1, 4), becoming=st.none() | st.just(9), cut=st.integers(0, 12))
def test_whoever_leaves_is_in_no_set_and_no_sum(
    made: list[Event], leaving: int, becoming: int | None, cut: int
) -> None:
    """Folded before or after, in one go or two."""
    theirs = [each for each in made if each[2] == leaving]
    after = [each for each in made if each[2] != leaving]
    parts = [groups_of(part) for part in (made[:cut], made[cut:]) if part]
    if theirs:
        parts.append(groups_of(theirs).negated())
        if becoming is not None:
            moved = [(kind, hour, becoming, value) for kind, hour, _, value in theirs]
            after += moved
            parts[-1] = Groups.join([parts[-1], groups_of(moved)])
    parts = [Groups.unpack(part.pack()) for part in parts]

    at_once = rollups(Groups.join(parts))
    one_by_one: dict[tuple[int, int], Rollup] = {}
    for part in parts:
        for name, rollup in rollups(part).items():
            one_by_one[name] = one_by_one[name] + rollup if name in one_by_one else rollup
    for found in (at_once, one_by_one):
        assert {
            name: (each.events, each.value_sum, each.revision % 2**64, set(each.users))
            for name, each in found.items()
            if each.events
        } == expected(after)
        assert all(not each.users for each in found.values() if not each.events)


def test_a_cell_leaves_out_who_left_whatever_its_sets_say() -> None:
    cell = Cell()
    cell.add(2, 0, BitMap([1, 2]), (0, 0, 0))
    cell.add(1, 0, BitMap([2, 3]), (0, 0, 0))
    cell.left = BitMap([2])
    assert cell.users == BitMap([1, 3])
    assert cell.users == BitMap([1, 3])
