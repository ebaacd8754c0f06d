"""Contracts: from an event that begins one to the event that ends it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.calendar import DAY_MICROS


@dataclass(frozen=True, slots=True)
class Contracts:
    """One row for each contract, by customer and time, in Unix µs; `ends` is `OPEN` while it lasts."""

    keys: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def seen_at(self, moment: int) -> "Contracts":
        """Return what was known of contracts at a moment."""
        begun = self.starts < moment
        ends = np.where(self.ends[begun] < moment, self.ends[begun], OPEN)
        return Contracts(self.keys[begun], self.starts[begun], ends)

    def tenures(self, moment: int) -> NDArray[np.float64]:
        """Return how many days each lasted, or has lasted at a moment, (n,)."""
        days: NDArray[np.float64] = (np.minimum(self.ends, moment) - self.starts) / DAY_MICROS
        return days

    @property
    def ended(self) -> NDArray[np.bool_]:
        """Whether each has ended, (n,)."""
        is_over: NDArray[np.bool_] = self.ends != OPEN
        return is_over


OPEN = int(np.iinfo(np.int64).max)

_END, _START = 0, 1


def contracts(
    starts: tuple[NDArray[np.int64], NDArray[np.int64]], ends: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> Contracts:
    """Return contracts of events, each (keys, times).

    A beginning while a contract lasts, and an end while none does, change nothing. At one moment an end comes
    before a beginning: who changes the contract goes on.
    """
    keys = np.concatenate((starts[0], ends[0]))
    times = np.concatenate((starts[1], ends[1]))
    kinds = np.concatenate((np.full(starts[0].size, _START), np.full(ends[0].size, _END)))
    found: list[tuple[int, int, int]] = []
    lasting: tuple[int, int] | None = None
    order = np.lexsort((kinds, times, keys))
    for key, time, kind in zip(
        keys[order].tolist(), times[order].tolist(), kinds[order].tolist(), strict=True
    ):
        if lasting is not None and lasting[0] != key:
            found.append((*lasting, OPEN))
            lasting = None
        if kind == _START and lasting is None:
            lasting = key, time
        elif kind == _END and lasting is not None:
            found.append((*lasting, time))
            lasting = None
    if lasting is not None:
        found.append((*lasting, OPEN))
    columns = np.array(found, np.int64).reshape(-1, 3)
    return Contracts(columns[:, 0], columns[:, 1], columns[:, 2])
