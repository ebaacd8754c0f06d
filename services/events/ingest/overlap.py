"""Keeps two writers of one process from storing the same event at the same time.

An event that is sent twice is mostly sent again soon. Of two transactions with the same event one would wait
for the other inside PostgreSQL, and then start anew; here it waits before it starts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    marks: NDArray[np.uint64]  # sorted
    over: Event = field(default_factory=Event)

    def shares(self, marks: NDArray[np.uint64]) -> bool:
        places = np.searchsorted(self.marks, marks).clip(max=len(self.marks) - 1)
        return bool((self.marks[places] == marks).any())


class Overlap:
    """The turns of the writers, in the order in which they came."""

    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._lock = Lock()

    @contextmanager
    def turn(self, ids: bytes) -> Iterator[None]:
        """Hold a turn for some events, once no turn that came before holds one of them.

        Args:
            ids: of at least one event, 16 bytes each. Only their second halves are compared, which are
                random: the same half in two events costs waiting, and nothing else.

        """
        marks = np.frombuffer(ids, np.uint64)[1::2]
        mine = _Turn(np.sort(marks))
        with self._lock:
            before = [turn for turn in self._turns if turn.shares(mine.marks)]
            self._turns.append(mine)
        try:
            for turn in before:
                turn.over.wait()
            yield
        finally:
            with self._lock:
                self._turns.remove(mine)
            mine.over.set()
