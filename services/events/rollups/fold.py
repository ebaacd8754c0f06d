"""Folding: reducing many groups to one roll-up for each (event, hour) and each (event, day)."""

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyroaring import AbstractBitMap, BitMap, FrozenBitMap

from services.events.rollups.deltas import Groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ANY_EVENT = 0
FIRST_ANONYMOUS_KEY = 2**29
FIRST_SESSION_KEY = 2**30
NOBODY = FrozenBitMap()
_REVISION_MODULUS = 2**64


@dataclass(frozen=True, slots=True)
class Rollup:
    """What is known of the events in one slot: their number, the sum of their values, who did them.

    value_sum is in millionths, revision modulo 2⁶⁴. `left` are those who have no events in the slot any more,
    whatever other roll-ups of it say; so the order in which roll-ups are added does not matter.
    """

    events: int
    value_sum: int
    revision: int
    users: BitMap
    left: AbstractBitMap = NOBODY

    def __add__(self, other: "Rollup") -> "Rollup":
        left = self.left | other.left
        users = self.users | other.users
        return Rollup(
            self.events + other.events,
            self.value_sum + other.value_sum,
            (self.revision + other.revision) % _REVISION_MODULUS,
            users - left if left else users,
            left,
        )

    @property
    def people(self) -> int:
        """Users and anonymous ids."""
        return people(self.users)

    @property
    def known(self) -> int:
        """Signed-in users."""
        return known(self.users)


def people(users: BitMap) -> int:
    """Count the users and anonymous ids in a set."""
    return int(users.range_cardinality(0, FIRST_SESSION_KEY))


def known(users: BitMap) -> int:
    """Count the signed-in users in a set."""
    return int(users.range_cardinality(0, FIRST_ANONYMOUS_KEY))


def bitmap(user_keys: NDArray[np.int32]) -> BitMap:
    """Return a set of keys; through an array, which is ten times quicker than through numbers."""
    return BitMap(array("I", user_keys.tobytes()))


def fold(groups: Groups, slots: NDArray[np.int32]) -> "Iterator[tuple[int, int, Rollup]]":
    """Yield (event_key, slot, roll-up), ordered; each group's slot, an hour or a day, is given beside it."""
    if not len(groups):
        return
    order = np.lexsort((slots, groups.event_keys))
    sorted_groups, sorted_slots = groups.take(order), slots[order]
    event_keys = sorted_groups.event_keys
    new = np.r_[True, (event_keys[1:] != event_keys[:-1]) | (sorted_slots[1:] != sorted_slots[:-1])]
    starts = np.flatnonzero(new)
    user_ends = np.cumsum(sorted_groups.user_counts)
    lows = (user_ends - sorted_groups.user_counts)[starts].tolist()
    highs = user_ends[np.r_[starts[1:], len(new)] - 1].tolist()
    sums = [
        np.add.reduceat(column, starts).tolist()
        for column in (
            sorted_groups.events,
            sorted_groups.value_high,
            sorted_groups.value_low,
            sorted_groups.revisions,
        )
    ]
    names = zip(event_keys[starts].tolist(), sorted_slots[starts].tolist(), strict=True)
    for (event_key, slot), events, high, low, revision, first, last in zip(
        names, *sums, lows, highs, strict=True
    ):
        users, left = _split(sorted_groups.user_keys[first:last])
        yield event_key, slot, Rollup(events, (high << 32) + low, revision, users, left)


def _split(user_keys: NDArray[np.int32]) -> tuple[BitMap, AbstractBitMap]:
    """Return who did events, and who left."""
    gone = user_keys < 0
    if not gone.any():
        return bitmap(user_keys), NOBODY
    left = bitmap(-user_keys[gone])
    return bitmap(user_keys[~gone]) - left, left


def with_any_event(rollups: "Iterable[tuple[int, int, Rollup]]") -> dict[tuple[int, int], Rollup]:
    """Return the roll-ups by (event_key, slot), with the sum over events in each slot under ANY_EVENT."""
    result: dict[tuple[int, int], Rollup] = {}
    for event_key, slot, rollup in rollups:
        result[event_key, slot] = rollup
        total = result.get((ANY_EVENT, slot))
        result[ANY_EVENT, slot] = rollup if total is None else total + rollup
    return result
