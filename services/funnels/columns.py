"""Columns of events and of what was found in them, and (person, time) packed into one sortable number."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

# Stands for "not reached" in columns of times.
NEVER = np.iinfo(np.int64).max
# Keys of a table, at 5 bytes each.
_MAXIMUM_TABLE = 2**24
# Keys for each event, up to which those between are not worth leaving out.
_DENSE = 2


@dataclass(frozen=True, slots=True)
class Source:
    """Events: who and when (Unix µs), and for each the steps and the exclusions it is an event of.

    Bit i of a mask stands for step i, or exclusion i.
    """

    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    steps: NDArray[np.uint64]
    bans: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Source":
        """Return some rows."""
        return Source(self.user_keys[rows], self.times[rows], self.steps[rows], self.bans[rows])

    @classmethod
    def joined(cls, sources: "Sequence[Source]") -> "Source":
        """Return the rows of several, one after the other."""
        if len(sources) == 1:
            return sources[0]
        names = ("user_keys", "times", "steps", "bans")
        return cls(*(np.concatenate([getattr(source, name) for source in sources]) for name in names))


@dataclass(frozen=True, slots=True)
class Matches:
    """People with an attempt, by rising key, and a row of step times for each, NEVER where absent."""

    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]

    def joined(self, other: "Matches") -> "Matches":
        """Return the people of both."""
        users = np.concatenate((self.user_keys, other.user_keys))
        order = np.argsort(users)
        return Matches(users[order], np.concatenate((self.times, other.times))[order])


@dataclass(frozen=True, slots=True)
class Packing:
    """(person, time) as one int64: sorting it sorts by person, then time; differences within one are µs.

    Two people's numbers are more than a window apart. `people` are the keys there may be, rising; `places`
    says for each event which of them did it.
    """

    people: NDArray[np.int32]
    places: NDArray[np.int64]
    first: int
    span: int

    @classmethod
    def of(cls, events: Source, window: int) -> "Packing | None":
        """Return a packing for events, at least one; None where it would take more than 63 bits."""
        first, last = int(events.times.min()), int(events.times.max())
        span = last - first + window + 2
        base, top = int(events.user_keys.min()), int(events.user_keys.max())
        count = top - base + 1
        if count < _DENSE * len(events) and count * span < NEVER:  # a place for each key between costs less
            people = np.arange(base, top + 1, dtype=np.int32)
            places = np.subtract(events.user_keys, base, dtype=np.int64)
        else:
            people, places = _ranked(events.user_keys)
        return cls(people, places, first, span) if len(people) * span < NEVER else None

    def pack(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the events, whose times these are."""
        packed = self.places * self.span
        packed += times
        packed -= self.first
        return packed

    def users(self, packed: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return whose some numbers are."""
        return self.people[packed // self.span]

    def times(self, packed: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when some numbers are, in Unix µs."""
        return packed % self.span + self.first


def _ranked(user_keys: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the different keys, rising, and the place of each row's among them.

    Where they lie close together they are marked in a table, which is quicker than sorting but takes memory
    for every key between.
    """
    base, top = int(user_keys.min()), int(user_keys.max())
    if top - base > min(50 * len(user_keys), _MAXIMUM_TABLE):
        people, places = np.unique(user_keys, return_inverse=True)
        return people, places
    seen = np.zeros(top - base + 1, bool)
    seen[user_keys - base] = True
    places = (np.cumsum(seen, dtype=np.int32) - 1)[user_keys - base].astype(np.int64)
    return (np.flatnonzero(seen) + base).astype(np.int32), places
