"""Groups of a transaction's events against dictionaries."""

import struct
from collections import Counter
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.events.rollups.deltas import NO_VALUE, Groups, Inserted, group

LARGEST = 10**18  # 10¹² in millionths
HOUR = 366_905  # 2011-11-09 17:00 UTC
DAY = 15_287


class Event(NamedTuple):
    event_key: int
    user_key: int
    value: int
    share: int
    day: int
    hour: int


class Group(NamedTuple):
    event_key: int
    day: int
    hour: int
    events: int
    value_sum: int
    revision: int
    users: tuple[int, ...]


def of_hour(hour: int) -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        event_key=st.sampled_from([1, 2, 3, 2**31 - 1]),
        user_key=st.sampled_from([1, 2, 3, 2**29, 2**30, 2**31 - 1]),
        value=st.just(NO_VALUE) | st.integers(-LARGEST, LARGEST) | st.sampled_from([LARGEST, -LARGEST, -1]),
        share=st.integers(0, 2**64 - 1),
        day=st.sampled_from([DAY, DAY + 1]),  # an hour may straddle two reporting days
        hour=st.just(hour),
    )


events = st.lists(
    st.sampled_from([HOUR, HOUR + 1, 262_968, 1_148_000]).flatmap(of_hour), min_size=1, max_size=40
)


def columns(rows: list[Event]) -> Inserted:
    kinds = [np.int32, np.int32, np.int64, np.uint64, np.int32, np.int32]
    arrays = [np.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    event_keys, user_keys, values, shares, days, hours = arrays
    return Inserted(event_keys, user_keys, values, shares, days, hours)


def listed(groups: Groups) -> list[Group]:
    rows, position = [], 0
    for row in range(len(groups)):
        number = int(groups.user_counts[row])
        users = groups.user_keys[position : position + number].tolist()
        position += number
        rows.append(
            Group(
                int(groups.event_keys[row]),
                int(groups.days[row]),
                int(groups.hours[row]),
                int(groups.events[row]),
                int(groups.value_high[row]) * 2**32 + int(groups.value_low[row]),
                int(groups.revisions[row]),
                tuple(users),
            )
        )
    assert position == len(groups.user_keys)
    return rows


def recounted(rows: list[Event]) -> list[Group]:
    kept: dict[tuple[int, int, int], list[Event]] = {}
    for row in rows:
        kept.setdefault((row.event_key, row.day, row.hour), []).append(row)
    return [
        Group(
            *names,
            len(members),
            sum(each.value for each in members if each.value != NO_VALUE),
            sum(each.share for each in members) % 2**64,
            tuple(sorted({each.user_key for each in members})),
        )
        for names, members in kept.items()
    ]


@given(events)
def test_groups_are_a_recount(rows: list[Event]) -> None:
    assert Counter(listed(group(columns(rows)))) == Counter(recounted(rows))


@given(events)
def test_packing_loses_nothing(rows: list[Event]) -> None:
    groups = group(columns(rows))
    assert listed(Groups.unpack(groups.pack())) == listed(groups)


@settings(max_examples=30)
@given(st.lists(events, min_size=1, max_size=4))
def test_joined_groups_stand_one_after_the_other(parts: list[list[Event]]) -> None:
    groups = [group(columns(rows)) for rows in parts]
    assert listed(Groups.join(groups)) == [row for part in groups for row in listed(part)]


@given(events, st.data())
def test_taking_rows_keeps_their_order_and_their_users(rows: list[Event], data: st.DataObject) -> None:
    groups = group(columns(rows))
    taken = data.draw(st.lists(st.integers(0, len(groups) - 1), max_size=10))
    whole = listed(groups)
    assert listed(groups.take(np.array(taken, np.intp))) == [whole[row] for row in taken]


def test_the_packed_form_is_what_is_written_in_databases() -> None:
    rows = [
        Event(7, 5, -3_000_000_000_000, 2**64 - 1, DAY, HOUR),
        Event(7, 9, NO_VALUE, 2, DAY, HOUR),
        Event(8, 5, 1, 3, DAY + 1, HOUR),
    ]
    payload = group(columns(rows)).pack()
    keys_and_days = (7, 8), (DAY, DAY + 1), (HOUR, HOUR), (2, 1)
    quotient, rest = divmod(-3_000_000_000_000, 2**32)
    sums = (2, 1), (quotient, 0), (rest, 1)
    assert payload == (
        struct.pack("<I", 2)
        + b"".join(struct.pack("<2i", *column) for column in keys_and_days)
        + b"".join(struct.pack("<2q", *column) for column in sums)
        + struct.pack("<2Q", 1, 3)
        + struct.pack("<3i", 5, 9, 5)
    )


@pytest.mark.parametrize("value", [LARGEST, -LARGEST])
def test_sums_of_the_largest_values_do_not_overflow(value: int) -> None:
    number = 5_000  # a batch; its sum is 542 times what 64 bits hold
    [found] = listed(group(columns([Event(1, 1, value, 2**64 - 1, DAY, HOUR)] * number)))
    assert found == Group(1, DAY, HOUR, number, value * number, -number % 2**64, (1,))


def test_one_event_is_one_group() -> None:
    assert listed(group(columns([Event(1, 2, 3, 4, DAY, HOUR)]))) == [Group(1, DAY, HOUR, 1, 3, 4, (2,))]


def test_no_value_is_not_the_smallest_value() -> None:
    [found] = listed(
        group(columns([Event(1, 2, NO_VALUE, 4, DAY, HOUR), Event(1, 2, -LARGEST, 4, DAY, HOUR)]))
    )
    assert (found.events, found.value_sum) == (2, -LARGEST)
    assert -LARGEST > NO_VALUE


def test_every_column_is_packed() -> None:
    groups = Groups.unpack(group(columns([Event(1, 2, 3, 4, DAY, HOUR)])).pack())
    assert all(len(getattr(groups, column.name)) == 1 for column in fields(Groups))
