"""Matches everybody with a funnel: what every answer is made from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.funnels.analysis.questions import Scope
from services.funnels.attribution import StepValues, step_values
from services.funnels.columns import Matches
from services.funnels.domain import Funnel
from services.funnels.matching import match
from services.funnels.open_entries import open_people
from services.funnels.reading.loading import Asked, Loaded, Loader
from services.funnels.rules import Rules


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everybody's attempt that counts, and what it was found in; `now` is before the reading, Unix µs."""

    funnel: Funnel
    scope: Scope
    loaded: Loaded
    matches: Matches
    now: int

    @property
    def rules(self) -> Rules:
        """Return what an attempt must be like."""
        return self.funnel.rules(self.scope.entry)

    @property
    def times(self) -> NDArray[np.int64]:
        """Return the times of everybody's steps."""
        return self.matches.times

    def open_people(self) -> NDArray[np.bool_]:
        """Tell who has not finished but may yet."""
        return open_people(self.loaded.events, self.matches, self.rules, self.scope.entries, self.now)

    def values(self) -> StepValues:
        """Return the values of the property that was asked for."""
        loaded = self.loaded
        return step_values(loaded.events, loaded.codes, len(loaded.texts), self.matches, self.funnel.mode)

    def is_complete(self, end: int) -> bool:
        """Tell whether every window that begins before an instant is over."""
        return end + self.funnel.window <= self.now


@dataclass(frozen=True, slots=True)
class Reading:
    """What was loaded of a funnel for a scope, to be matched; `now` is before the reading, Unix µs."""

    funnel: Funnel
    scope: Scope
    loaded: Loaded
    now: int

    def beginning(self, entries: tuple[int, int]) -> Analysis:
        """Return the attempts that count of those that begin inside [start, end), a part of the scope."""
        start, end = entries
        scope, loaded = replace(self.scope, entries=entries), self.loaded
        if entries != self.scope.entries:
            times = loaded.events.times
            loaded = loaded.rows((times >= start) & (times < end + self.funnel.window))
        matches = match([loaded.events], self.funnel.rules(scope.entry), entries)
        return Analysis(self.funnel, scope, loaded, matches, self.now)


@dataclass(frozen=True)
class Analyst:
    """Loads and matches."""

    loader: Loader
    clock: Callable[[], int]

    def load(self, funnel: Funnel, scope: Scope, path: str = "", further: tuple[bytes, ...] = ()) -> Reading:
        """Return what is stored now; `path` and `further` as in Asked."""
        now = self.clock()  # before it reads: what comes after is not in the answer
        loaded = self.loader.load(Asked(funnel, scope.entries, scope.population, path, further))
        return Reading(funnel, scope, loaded, now)

    def analyze(self, funnel: Funnel, scope: Scope, path: str = "") -> Analysis:
        """Return the attempts that count now, with the values of the property at a path, if there is one."""
        return self.load(funnel, scope, path).beginning(scope.entries)
