"""Columns of events kept in memory, a chunk for each UTC day, read again once they changed."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from services.funnels.reading.plan import Columns

# What a chunk costs beside its columns, and a text beside its characters.
_CHUNK_BYTES, _TEXT_BYTES = 900, 60


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events of one UTC day, sorted by user key, then time (Unix µs), as they were at a revision.

    matches: bit i tells whether the event meets match set i; None without sets. codes: which of the texts,
    JSON values of a property, the event has, -1 where it lacks the property; None without a property.
    """

    revision: int
    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    matches: NDArray[np.uint64] | None = None
    codes: NDArray[np.int32] | None = None
    texts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Return the bytes it takes in memory, roughly."""
        columns = (self.user_keys, self.times, self.matches, self.codes)
        texts = sum(len(text) + _TEXT_BYTES for text in self.texts)
        return _CHUNK_BYTES + texts + sum(0 if column is None else column.nbytes for column in columns)


class ChunkCache:
    """Holds chunks by columns and day. Safe between threads.

    At most `maximum_bytes` are held, what was used least recently goes first; 0 holds nothing.
    """

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._chunks: OrderedDict[tuple[Columns, int], Chunk] = OrderedDict()
        self._days: defaultdict[Columns, set[int]] = defaultdict(set)
        self._held_bytes = 0
        self._lock = Lock()

    @property
    def held_bytes(self) -> int:
        """Return how much is held now."""
        return self._held_bytes

    def held(self, columns: Columns, days: tuple[int, int]) -> dict[int, Chunk]:
        """Return what is held of a half-open range of days."""
        first, last = days
        with self._lock:
            found = sorted(day for day in self._days.get(columns, ()) if first <= day < last)
            for day in found:
                self._chunks.move_to_end((columns, day))
            return {day: self._chunks[columns, day] for day in found}

    def keep(self, columns: Columns, chunks: Iterable[tuple[int, Chunk]]) -> None:
        """Hold chunks by their day, in place of what was held of it."""
        with self._lock:
            for day, chunk in chunks:
                self._keep((columns, day), chunk)

    def _keep(self, name: tuple[Columns, int], chunk: Chunk) -> None:
        if name in self._chunks:
            self._drop(name)
        if chunk.size > self._maximum_bytes:
            return
        self._chunks[name] = chunk
        self._days[name[0]].add(name[1])
        self._held_bytes += chunk.size
        while self._held_bytes > self._maximum_bytes:
            self._drop(next(iter(self._chunks)))

    def _drop(self, name: tuple[Columns, int]) -> None:
        columns, day = name
        self._held_bytes -= self._chunks.pop(name).size
        self._days[columns].discard(day)
        if not self._days[columns]:
            del self._days[columns]
