"""Every experiment in memory, never older than half a second at the start of a call."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from services.experiments.domain import Experiment
from services.experiments.lifecycle import store
from shared.who import Who

if TYPE_CHECKING:
    from brain.experiments.v1.experiments_pb2 import AssignmentReason
    from sqlalchemy import Engine

FRESH_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Assigned:
    """Why somebody got a variant (its position) or none, and when first, in Unix microseconds."""

    reason: "AssignmentReason.ValueType"
    variant: int | None = None
    assigned_time: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The experiments as they were, and what was read of people since.

    What is read for a snapshot is remembered in that snapshot: a late answer from before a change never
    reaches those who look after it.
    """

    change: int
    experiments: Mapping[str, Experiment]
    # By experiment, those who are assigned and have no override.
    assigned: dict[int, dict[Who, Assigned]] = field(default_factory=dict)

    def experiment(self, key: str) -> Experiment:
        """Return an experiment; raise NotFound."""
        found = self.experiments.get(key)
        if found is None:
            raise store.unknown(key)
        return found


class Catalogue:
    """Reads experiments again after every change, whoever made it. Safe to share between threads."""

    def __init__(self, engine: "Engine", now: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._now = now
        self._lock = Lock()
        self._snapshot = Snapshot(-1, {})
        self._looked = float("-inf")
        self._changes = 0

    def changed(self) -> None:
        """Have the next call look: this replica changed something, and its callers know."""
        self._changes += 1
        self._looked = float("-inf")

    def with_experiment(self, key: str) -> Snapshot:
        """Return a snapshot that holds this experiment if anybody made it; raise NotFound."""
        found = self.snapshot()
        if key not in found.experiments:
            self.changed()  # made a moment ago, perhaps
            found = self.snapshot()
        found.experiment(key)
        return found

    def snapshot(self) -> Snapshot:
        """Return the experiments of now, or of half a second ago."""
        if self._now() - self._looked < FRESH_SECONDS:
            return self._snapshot
        with self._lock:
            looking = self._now()
            if looking - self._looked >= FRESH_SECONDS:
                changes = self._changes
                self._look()
                # The moment before the look: what is committed while it reads may be missing.
                if changes == self._changes:
                    self._looked = looking
            return self._snapshot

    def _look(self) -> None:
        with self._engine.begin() as connection:
            # In this order: a change between the two is read, and looked for again next time.
            change = store.last_change(connection)
            if change != self._snapshot.change:
                found = {each.key: each for each in store.read_all(connection)}
                self._snapshot = Snapshot(change, found)
