"""Deltas: what one transaction adds to the roll-ups, as columns packed into one row.

A group is what shares (event, reporting day, UTC hour). Packing all groups of a transaction into one row
makes the cost of a delta independent of how far its events are spread in time; see docs/decisions/0001.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

# Stands for "no value" in columns of int64; no real value comes near it.
NO_VALUE = np.iinfo(np.int64).min

_COLUMNS = (
    ("event_keys", np.dtype("<i4")),
    ("days", np.dtype("<i4")),
    ("hours", np.dtype("<i4")),
    ("user_counts", np.dtype("<i4")),
    ("events", np.dtype("<i8")),
    ("value_high", np.dtype("<i8")),
    ("value_low", np.dtype("<i8")),
    ("revisions", np.dtype("<u8")),
)


@dataclass(frozen=True, slots=True)
class Inserted:
    """Columns of the events a transaction really stored, of equal length.

    Values are millionths or NO_VALUE; shares are the events' parts of their revision; days are reporting days
    and hours UTC hours, both since 1970-01-01.
    """

    event_keys: NDArray[np.int32]
    user_keys: NDArray[np.int32]
    values: NDArray[np.int64]
    shares: NDArray[np.uint64]
    days: NDArray[np.int32]
    hours: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Groups:
    """Columns with a row for each group, and the groups' user keys one after the other.

    The sum of a group's values is value_high · 2³² + value_low: two sums that cannot overflow. A negative
    user key says that this user has no events in the group any more. Whoever leaves one group leaves all of
    theirs in the same delta, and their key is never stored again.
    """

    event_keys: NDArray[np.int32]
    days: NDArray[np.int32]
    hours: NDArray[np.int32]
    user_counts: NDArray[np.int32]
    events: NDArray[np.int64]
    value_high: NDArray[np.int64]
    value_low: NDArray[np.int64]
    revisions: NDArray[np.uint64]
    user_keys: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.events)

    def pack(self) -> bytes:
        """Return the columns as little-endian bytes behind their number of rows."""
        columns = [getattr(self, name).astype(dtype, copy=False).tobytes() for name, dtype in _COLUMNS]
        keys = self.user_keys.astype("<i4", copy=False).tobytes()
        return b"".join((len(self).to_bytes(4, "little"), *columns, keys))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Read what pack() wrote."""
        rows = int.from_bytes(payload[:4], "little")
        position = 4
        columns: list[NDArray[Any]] = []
        for _, dtype in _COLUMNS:
            columns.append(np.frombuffer(payload, dtype, rows, position))
            position += rows * dtype.itemsize
        columns.append(np.frombuffer(payload, "<i4", offset=position))
        return cls(*columns)

    @classmethod
    def join(cls, parts: "list[Groups]") -> Self:
        """Append the rows of several; groups may then occur more than once."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def negated(self) -> "Groups":
        """Return what takes these events, all there are of their users, out of the roll-ups."""
        return replace(
            self,
            events=-self.events,
            value_high=-self.value_high,
            value_low=-self.value_low,
            revisions=np.uint64(0) - self.revisions,
            user_keys=-self.user_keys,
        )

    def take(self, rows: NDArray[np.intp]) -> "Groups":
        """Return some rows, in the order named."""
        starts = np.cumsum(self.user_counts) - self.user_counts
        counts = self.user_counts[rows]
        ends = np.cumsum(counts)
        positions = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
            starts[rows] - (ends - counts), counts
        )
        columns: list[NDArray[Any]] = [getattr(self, name)[rows] for name, _ in _COLUMNS]
        columns.append(self.user_keys[positions])
        return Groups(*columns)


def group(inserted: Inserted) -> Groups:
    """Reduces stored events to groups. Needs at least one event."""
    # A UTC hour lies in two reporting days at most, so the day's last bit tells them apart.
    keys = (
        (inserted.event_keys.astype(np.int64) << 26)
        | (inserted.hours.astype(np.int64) << 1)
        | (inserted.days.astype(np.int64) & 1)
    )
    order = np.lexsort((inserted.user_keys, keys))
    keys, users = keys[order], inserted.user_keys[order]
    new_group = np.r_[True, keys[1:] != keys[:-1]]
    new_user = new_group | np.r_[True, users[1:] != users[:-1]]
    starts = np.flatnonzero(new_group)
    values = inserted.values[order]
    values = np.where(values == NO_VALUE, 0, values)
    firsts = order[starts]
    return Groups(
        event_keys=inserted.event_keys[firsts],
        days=inserted.days[firsts],
        hours=inserted.hours[firsts],
        user_counts=np.add.reduceat(new_user.astype(np.int32), starts, dtype=np.int32),
        events=np.diff(np.r_[starts, len(keys)]),
        value_high=np.add.reduceat(values >> 32, starts),
        value_low=np.add.reduceat(values & 0xFFFFFFFF, starts),
        revisions=np.add.reduceat(inserted.shares[order], starts),
        user_keys=users[new_user],
    )
