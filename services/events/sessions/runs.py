"""Runs: events of one (who, session id) with no gap over 30 minutes between neighbours, as columns.

A session is a run that nothing can be added to. Merging does not care about order or grouping, so runs of
single transactions may be put together at any time and in any order.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.calendar import MICROS

GAP_MICROS = 30 * 60 * MICROS

_COLUMNS = (
    ("user_keys", np.dtype("<i4")),
    ("session_hashes", np.dtype("<i8")),
    ("starts", np.dtype("<i8")),
    ("ends", np.dtype("<i8")),
    ("events", np.dtype("<i4")),
    ("pages", np.dtype("<i4")),
)


@dataclass(frozen=True, slots=True)
class Runs:
    """Columns of equal length; starts and ends are the Unix µs of the first and the last event.

    pages counts the events with a page.
    """

    user_keys: NDArray[np.int32]
    session_hashes: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    events: NDArray[np.int32]
    pages: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of_events(
        cls,
        user_keys: NDArray[np.int32],
        times: NDArray[np.int64],
        session_hashes: NDArray[np.int64],
        has_page: NDArray[np.bool_],
    ) -> Self:
        """Return the runs of events in any order."""
        if not len(times):
            return cls.empty()
        order = np.lexsort((times, session_hashes, user_keys))
        users, hashes, times = user_keys[order], session_hashes[order], times[order]
        firsts = _firsts(_is_new_key(users, hashes), times, times)
        ends = np.r_[firsts[1:], len(times)]
        return cls(
            users[firsts],
            hashes[firsts],
            times[firsts],
            times[ends - 1],
            (ends - firsts).astype(np.int32),
            np.add.reduceat(has_page[order].astype(np.int32), firsts),
        )

    @classmethod
    def empty(cls) -> Self:
        """Return no runs."""
        return cls(*(np.empty(0, dtype) for _, dtype in _COLUMNS))

    @classmethod
    def join(cls, parts: "list[Runs]") -> Self:
        """Append the rows of several; what belongs together is not merged yet."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in (cls.empty(), *parts)])
                for name in (field.name for field in fields(cls))
            )
        )

    def take(self, rows: NDArray[Any]) -> "Runs":
        """Return some rows, by their positions or by a mask."""
        return Runs(*(getattr(self, name)[rows] for name, _ in _COLUMNS))

    def merged(self) -> "Runs":
        """Return the longest runs these make up, ordered by who, session and start."""
        if not len(self):
            return self
        order = np.lexsort((self.starts, self.session_hashes, self.user_keys))
        runs = self.take(order)
        is_new_key = _is_new_key(runs.user_keys, runs.session_hashes)
        firsts = _firsts(is_new_key, runs.starts, _latest_ends(is_new_key, runs.ends))
        return Runs(
            runs.user_keys[firsts],
            runs.session_hashes[firsts],
            runs.starts[firsts],
            np.maximum.reduceat(runs.ends, firsts),
            np.add.reduceat(runs.events, firsts),
            np.add.reduceat(runs.pages, firsts),
        )

    def pack(self) -> bytes:
        """Return the columns as little-endian bytes, one after the other."""
        return b"".join(getattr(self, name).astype(dtype, copy=False).tobytes() for name, dtype in _COLUMNS)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Read what pack() wrote."""
        rows = len(payload) // sum(dtype.itemsize for _, dtype in _COLUMNS)
        position = 0
        columns: list[NDArray[Any]] = []
        for _, dtype in _COLUMNS:
            columns.append(np.frombuffer(payload, dtype, rows, position))
            position += rows * dtype.itemsize
        return cls(*columns)


def _is_new_key(user_keys: NDArray[np.int32], session_hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
    is_new = np.ones(len(user_keys), bool)
    is_new[1:] = (user_keys[1:] != user_keys[:-1]) | (session_hashes[1:] != session_hashes[:-1])
    return is_new


def _latest_ends(is_new_key: NDArray[np.bool_], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the latest end so far of each key's rows.

    Ranks among all ends, keys first, grow from key to key: their running maximum begins anew with each.
    """
    by_end = np.lexsort((ends, np.cumsum(is_new_key)))
    ranks = np.empty(len(ends), np.intp)
    ranks[by_end] = np.arange(len(ends))
    latest: NDArray[np.int64] = ends[by_end][np.maximum.accumulate(ranks)]
    return latest


def _firsts(
    is_new_key: NDArray[np.bool_], starts: NDArray[np.int64], latest_ends: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Return where a run begins among rows ordered by key and start."""
    is_new = is_new_key.copy()
    is_new[1:] |= starts[1:] - latest_ends[:-1] > GAP_MICROS
    return np.flatnonzero(is_new)
