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
        # Up to here no change is pending.
        self.settled: int | None = None
        # What was looked up in an earlier generation may be about people who are gone.
        self.generation = 0
        self._merges: dict[int, int] = {}

    def clear(self) -> None:
        """Forget everything."""
        self.generation += 1
        self.position = self.settled = None
        self._merges = {}

    def start(self, position: int, settled: int, generation: int) -> None:
        """Follow the log from a position that was read in a generation, with what was pending then."""
        if self.position is None and generation == self.generation:
            self.position, self.settled = position, settled

    def learn(self, merges: "Mapping[int, int]") -> None:
        """Remember merges that were looked up."""
        self._merges.update(merges)

    def __len__(self) -> int:
        return len(self._merges)

    def apply(self, changes: "Sequence[Change]") -> set[int]:
        """Follow the changes behind what was settled; return the keys that stand for nobody since then."""
        if self.position is None:
            return set()
        new = [change for change in changes if change.position > self.position]
        gone = {change.from_key for change in new if change.kind is ChangeKind.ERASE}
        self.learn(
            {each.from_key: each.to_key for each in new if each.kind is ChangeKind.MERGE and each.to_key}
        )
        for key in gone:
            self._merges.pop(key, None)
        if gone:
            self.generation += 1
        self.position = max([self.position, *(change.position for change in new)])
        pending = [change.position for change in changes if change.pending]
        # Whoever read the log earlier may set this back, which costs reading a little again.
        self.settled = min(pending) - 1 if pending else max(change.position for change in changes)
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
