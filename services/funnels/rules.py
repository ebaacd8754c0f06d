"""What a funnel asks for, and what an attempt to go through it is made of."""

from dataclasses import dataclass
from enum import Enum
from itertools import count

MAXIMUM_STEPS = 64


class OrderMode(Enum):
    """How the events of an attempt may lie: others between them, none between them, or in any order."""

    ORDERED = "ordered"
    STRICT = "strict"
    UNORDERED = "unordered"


class Entry(Enum):
    """Which attempt of a person counts: the best of all, or of those that begin with the first entry."""

    BEST = "best"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What must not happen strictly after step `after` and strictly before step `before`, from 0."""

    after: int
    before: int


@dataclass(frozen=True, slots=True)
class Rules:
    """A funnel of `steps` steps, numbered from 0; the window is in µs, counted from entry, inclusive.

    Optional steps are neither the first nor the last, and no exclusion begins or ends with one.
    """

    steps: int
    window: int
    mode: OrderMode = OrderMode.ORDERED
    entry: Entry = Entry.BEST
    optional: frozenset[int] = frozenset()
    exclusions: tuple[Exclusion, ...] = ()

    def following(self, step: int) -> range:
        """Return the steps that may be filled next: optional ones and the required one behind them."""
        if step + 1 >= self.steps:
            return range(0)
        required = next(number for number in count(step + 1) if number not in self.optional)
        return range(step + 1, required + 1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way through a funnel: the time of each step in Unix µs, None where it was skipped or not reached.

    In an unordered funnel, times[k] is when the person had done k + 1 different steps.
    """

    times: tuple[int | None, ...]

    @property
    def entry(self) -> int:
        """Return when it began."""
        assert self.times[0] is not None, "an attempt begins with its first step"
        return self.times[0]

    @property
    def reached(self) -> int:
        """Return the last step filled."""
        return max(step for step, time in enumerate(self.times) if time is not None)

    def rank(self, optional: frozenset[int]) -> tuple[int, int, tuple[float, ...]]:
        """Return what orders attempts: most required steps, most optional ones, earliest times."""
        filled = {step for step, time in enumerate(self.times) if time is not None}
        times = tuple(float("inf") if time is None else time for time in self.times)
        return -len(filled - optional), -len(filled & optional), times
