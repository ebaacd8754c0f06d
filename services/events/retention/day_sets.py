"""Sets of people by local day, in which a date and a number of days after it can be looked up."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyroaring import BitMap

from services.events.domain import Population
from services.events.rollups.fold import FIRST_ANONYMOUS_KEY, FIRST_SESSION_KEY

_AFTER_ALL_KEYS = 2**32
_LIMITS = {Population.KNOWN: FIRST_ANONYMOUS_KEY, Population.PEOPLE: FIRST_SESSION_KEY}


@dataclass(frozen=True, slots=True)
class DaySets:
    """Who did something on each local day: sets[i] on day first + i, days counted since 1970-01-01.

    Days outside are empty, and so are days that a zone skipped, which have their place all the same. The sets
    may be shared with others: they are read, never changed.
    """

    first: int
    sets: Sequence[BitMap]

    def of(self, day: int) -> BitMap:
        """Return the set of a day."""
        position = day - self.first
        return self.sets[position] if 0 <= position < len(self.sets) else BitMap()

    def until(self, after: int) -> "DaySets":
        """Return the days before `after`."""
        return DaySets(self.first, self.sets[: max(after - self.first, 0)])

    def of_population(self, population: Population) -> "DaySets":
        """Return only those who belong to a population."""
        return DaySets(self.first, [of_population(users, population) for users in self.sets])

    def and_later(self) -> "DaySets":
        """Return for each day who did it then or on any later day."""
        suffixes: list[BitMap] = []
        for users in reversed(self.sets):
            suffixes.append(users | suffixes[-1] if suffixes else users)
        return DaySets(self.first, suffixes[::-1])


def of_population(users: BitMap, population: Population) -> BitMap:
    """Return those of a set who belong to a population; the set itself where all do."""
    limit = _LIMITS.get(population)
    if limit is None or not users or users.max() < limit:
        return users
    cut = users.copy()
    cut.remove_range(limit, _AFTER_ALL_KEYS)
    return cut
