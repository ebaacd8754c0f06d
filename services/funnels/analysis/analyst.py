"""Matches everybody with a funnel: what every answer is made from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.funnels.analysis.found import Found, FoundCache
from services.funnels.analysis.questions import Scope
from services.funnels.attribution import StepValues, step_values
from services.funnels.domain import Funnel
from services.funnels.matching import match
from services.funnels.open_entries import late_entries, open_people
from services.funnels.reading.loading import Asked, Loaded, Loader
from services.funnels.rules import Rules
from shared.deadlines import remaining_seconds
from shared.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everybody's attempt that counts; `now` is before the reading, Unix µs."""

    funnel: Funnel
    scope: Scope
    found: Found
    now: int

    @property
    def rules(self) -> Rules:
        """Return what an attempt must be like."""
        return self.funnel.rules(self.scope.entry)

    @property
    def user_keys(self) -> NDArray[np.int32]:
        """Return the keys of people with an attempt, rising."""
        return self.found.matches.user_keys

    @property
    def times(self) -> NDArray[np.int64]:
        """Return the times of everybody's steps."""
        return self.found.matches.times

    @property
    def values(self) -> StepValues:
        """Return the values of the property that was asked for."""
        assert self.found.values is not None, "it was asked for"
        return self.found.values

    def open_people(self) -> NDArray[np.bool_]:
        """Tell who has not finished but may yet."""
        found = self.found
        return open_people(found.late, found.matches, self.rules, self.scope.entries, self.now)

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
        return Analysis(self.funnel, scope, self._found(loaded, scope), self.now)

    def _found(self, loaded: Loaded, scope: Scope) -> Found:
        rules, mode = self.funnel.rules(scope.entry), self.funnel.mode
        matches = match([loaded.events], rules, scope.entries, ensure_awaited)
        late = late_entries(loaded.events, rules, scope.entries, self.now)
        values = None
        if loaded.codes is not None:
            values = step_values(loaded.events, loaded.codes, len(loaded.texts), matches, mode)
        return Found(matches, late, values, loaded.texts, self.now)


@dataclass(frozen=True)
class Analyst:
    """Loads and matches; what was found is kept while nothing that it was found in has changed."""

    loader: Loader
    cache: FoundCache
    clock: Callable[[], int]

    def load(
        self, funnel: Funnel, scope: Scope, further: tuple[bytes, ...] = (), user_key: int | None = None
    ) -> Reading:
        """Return what is stored now; `further` and `user_key` as in Asked."""
        now = self.clock()  # before it reads: what comes after is not in the answer
        asked = Asked(funnel, scope.entries, scope.population, further=further, user_key=user_key)
        return Reading(funnel, scope, self.loader.read(asked).loaded(), now)

    def analyze(self, funnel: Funnel, scope: Scope, path: str = "") -> Analysis:
        """Return the attempts that count now, with the values of the property at a path, if there is one."""
        now = self.clock()
        asked = Asked(funnel, scope.entries, scope.population, path)
        parts = self.loader.read(asked)
        name = asked, scope.entry
        found = self.cache.get(name, parts.fingerprint)
        if found is not None and found.now <= now:
            return Analysis(funnel, scope, found, now)
        analysis = Reading(funnel, scope, parts.loaded(), now).beginning(scope.entries)
        self.cache.keep(name, parts.fingerprint, analysis.found)
        return analysis


def ensure_awaited() -> None:
    """Raise DeadlineExceeded where the caller of this thread's call waits no more."""
    if not remaining_seconds():
        raise DeadlineExceeded("matching took too long: ask for a shorter range", "FUNNEL_TIMEOUT")
