"""Who went from a start event to an end event: pure functions over columns.

The rule is that of a funnel of two steps. An attempt is a start event and a different end event that is not
earlier and at most a window later; start events at one instant are alike. The best attempt counts: one that
converts before one that does not, then the earliest start, then the earliest end.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.events.reading.columns import Columns

NONE = -1
# A user's rank and a time go into one int64; a block of users holds as many ranks as fit.
_PACKED_BITS = 62


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempt that counts of everybody in every bucket.

    buckets: which bucket it began in. delays: µs from start to end, NONE where it did not convert.
    last_starts: Unix µs of the latest start event that may begin an attempt. groups: a code of the start
    event, the number of texts where it lacks the property; empty where there are no codes.
    """

    buckets: NDArray[np.intp]
    delays: NDArray[np.int64]
    last_starts: NDArray[np.int64]
    groups: NDArray[np.int64]


def delays(starts: "Columns", ends: "Columns", shared: "Columns", window: int | None) -> NDArray[np.int64]:
    """Return the µs from each start event to the first end event it can convert by, NONE where none is.

    Args:
        starts: start events.
        ends: end events, from the first start event on.
        shared: the events that are both.
        window: µs, inclusive; None for no limit.

    """
    found = np.full(len(starts), NONE, np.int64)
    if not len(starts):
        return found
    is_first = np.diff(starts.user_keys, prepend=NONE) != 0
    users = starts.user_keys[is_first]
    first = int(starts.times.min())
    last = max(int(columns.times.max()) for columns in (starts, ends) if len(columns))
    bits = (last - first).bit_length()
    all_starts = _Ranked(np.cumsum(is_first) - 1, starts.times - first)
    all_ends, all_shared = (_ranked(columns, users, first, last) for columns in (ends, shared))
    block = max(1, 2 ** (_PACKED_BITS - bits))
    for rank in range(0, len(users), block):
        rows = all_starts.rows(rank, rank + block)
        packed_starts, packed_ends, packed_shared = (
            each.packed(rank, rank + block, bits) for each in (all_starts, all_ends, all_shared)
        )
        found[rows] = _block_delays(packed_starts, packed_ends, packed_shared, bits)
    if window is not None:
        found[found > window] = NONE
    return found


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Events by the rank of their user, in order, and µs after the first start event."""

    ranks: NDArray[np.intp]
    offsets: NDArray[np.int64]

    def rows(self, first: int, after: int) -> slice:
        """Return where the users of these ranks are."""
        return slice(*np.searchsorted(self.ranks, (first, after)).tolist())

    def packed(self, first: int, after: int, bits: int) -> NDArray[np.int64]:
        """Return a number for each event of the users of these ranks, in the order of (user, time)."""
        rows = self.rows(first, after)
        numbers = self.ranks[rows].astype(np.int64)
        numbers -= first
        numbers <<= bits
        numbers |= self.offsets[rows]
        return numbers


def _ranked(columns: "Columns", users: NDArray[np.int32], first: int, last: int) -> _Ranked:
    """Rank the events of these users that lie within [first, last]: others would pass for other users."""
    ranks = np.minimum(np.searchsorted(users, columns.user_keys), len(users) - 1)
    wanted = users[ranks] == columns.user_keys
    wanted &= (columns.times >= first) & (columns.times <= last)
    return _Ranked(ranks[wanted], columns.times[wanted] - first)


def _block_delays(
    starts: NDArray[np.int64], ends: NDArray[np.int64], shared: NDArray[np.int64], bits: int
) -> NDArray[np.int64]:
    found = np.full(len(starts), NONE, np.int64)
    if not len(ends):
        return found
    nexts = np.searchsorted(ends, starts)
    nexts[_alone(starts, ends, shared, nexts)] += 1  # an event that is both, and alone: the one after it
    times = ends[np.minimum(nexts, len(ends) - 1)]
    is_there = (nexts < len(ends)) & ((times ^ starts) >> bits == 0)  # and of the same user
    np.subtract(times, starts, out=found, where=is_there)
    return found


def _alone(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    shared: NDArray[np.int64],
    nexts: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Return the start events that are end events themselves, and the only event of both at their instant."""
    if not len(shared):
        return np.empty(0, np.intp)
    rows = np.flatnonzero(nexts < len(ends))
    rows = rows[ends[nexts[rows]] == starts[rows]]
    wanted = starts[rows]
    different = _count(starts, wanted) + _count(ends, wanted) - _count(shared, wanted)
    alone: NDArray[np.intp] = rows[different == 1]
    return alone


def _count(events: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.intp]:
    counts: NDArray[np.intp] = np.searchsorted(events, wanted, "right")
    counts -= np.searchsorted(events, wanted)
    return counts


def best_attempts(
    starts: "Columns", found: NDArray[np.int64], bounds: "Sequence[int]", *, first_only: bool
) -> Attempts:
    """Return the attempt that counts of everybody in every bucket.

    Args:
        starts: start events, all of them in some bucket.
        found: what delays() returned for them.
        bounds: where each bucket begins, Unix µs, in order.
        first_only: whether only the first start event of a bucket begins an attempt.

    """
    buckets = np.searchsorted(np.array(bounds, np.int64), starts.times, "right") - 1
    is_first = np.ones(len(starts), bool)
    is_first[1:] = (np.diff(starts.user_keys) != 0) | (np.diff(buckets) != 0)
    firsts = np.flatnonzero(is_first)
    entries, lasts = firsts, firsts
    if not first_only:
        entries = _earliest_converting(firsts, np.cumsum(is_first) - 1, found)
        lasts = np.append(firsts[1:], len(starts))[: len(firsts)] - 1
    return Attempts(buckets[entries], found[entries], starts.times[lasts], _groups(starts, entries))


def _earliest_converting(
    firsts: NDArray[np.intp], runs: NDArray[np.intp], found: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Return for each run of start events the row of the first that converts, else the first."""
    converting = np.flatnonzero(found != NONE)
    of_runs = runs[converting]
    is_earliest = np.ones(len(converting), bool)
    is_earliest[1:] = np.diff(of_runs) != 0
    entries = firsts.copy()
    entries[of_runs[is_earliest]] = converting[is_earliest]
    return entries


def _groups(starts: "Columns", entries: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the least code among the start events at the instant of each entry, which is its first."""
    if starts.codes is None or not len(starts):
        return np.empty(0, np.int64)
    codes = np.where(starts.codes < 0, len(starts.texts), starts.codes).astype(np.int64)
    is_instant = np.ones(len(starts), bool)
    is_instant[1:] = (np.diff(starts.user_keys) != 0) | (np.diff(starts.times) != 0)
    least = np.minimum.reduceat(codes, np.flatnonzero(is_instant))
    groups: NDArray[np.int64] = least[np.cumsum(is_instant)[entries] - 1]
    return groups
