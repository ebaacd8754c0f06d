"""How far a process has followed the identity log, and what that did to the keys it knows."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.events.domain import ChangeKind
from services.events.rollups.fold import FIRST_ANONYMOUS_KEY, FIRST_SESSION_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.events.domain import Change


class Followed:
    """Merges known to a process. Changed by one thread at a time; read by all."""

    def __init__(self) -> None:
        self.position: int | None = None
        # What was looked up in an earlier generation may be about people who are gone.
        self.generation = 0
        self._merges: dict[int, int] = {}

    def clear(self) -> None:
        """Forget everything."""
        self.generation += 1
        self.position = None
        self._merges = {}

    def start(self, position: int, generation: int) -> None:
        """Follow the log from a position that was read in a generation."""
        if self.position is None and generation == self.generation:
            self.position = position

    def learn(self, merges: "Mapping[int, int]") -> None:
        """Remember merges that were looked up."""
        self._merges.update(merges)

    def __len__(self) -> int:
        return len(self._merges)

    def apply(self, changes: "Sequence[Change]") -> set[int]:
        """Follow changes; return the keys that stand for nobody now."""
        gone = {change.from_key for change in changes if change.kind is ChangeKind.ERASE}
        self.learn(
            {
                change.from_key: change.to_key
                for change in changes
                if change.kind is ChangeKind.MERGE and change.to_key
            }
        )
        for key in gone:
            self._merges.pop(key, None)
        if gone:
            self.generation += 1
        last = max(change.position for change in changes)
        if self.position is not None:
            self.position = max(self.position, last)
        return gone

    def merged_into(self, key: int) -> int | None:
        """Return the key that a key was merged into, as far as is known here."""
        return self._merges.get(key)

    def current(self, user_keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the keys under which events of these keys are stored now."""
        merges = self._merges
        if not merges:
            return user_keys
        rows = np.flatnonzero((user_keys >= FIRST_ANONYMOUS_KEY) & (user_keys < FIRST_SESSION_KEY))
        if not len(rows):
            return user_keys
        current = user_keys.copy()
        current[rows] = [merges.get(key, key) for key in user_keys[rows].tolist()]
        return current
