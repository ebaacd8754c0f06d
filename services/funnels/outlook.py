"""How far attempts can come at best, told without searching."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from services.funnels.rules import OrderMode, Rules

# As Attempt.rank: minus the required steps filled, minus the optional ones.
Rank = tuple[int, int]


def possible_rank(masks: Sequence[int], rules: Rules) -> Rank:
    """Return a bound of the rank of attempts: all steps done for which there are events at all.

    Args:
        masks: of the events; bit i stands for step i.
        rules: of the funnel.

    """
    fillable = 0
    for steps in set(masks):
        fillable |= steps
    there = {step for step in range(rules.steps) if fillable >> step & 1}
    if rules.mode is not OrderMode.UNORDERED:
        missing = (step for step in range(rules.steps) if step not in there | rules.optional)
        there &= set(range(next(missing, rules.steps)))
    return -len(there - rules.optional), -len(there & rules.optional)


class Outlook:
    """Bounds of the attempts of one person, whose events are in the order of time (Unix µs)."""

    def __init__(self, times: Sequence[int], masks: Sequence[int], rules: Rules) -> None:
        self._times = times
        self._masks = masks
        self._rules = rules
        self._times_of: defaultdict[int, list[int]] | None = None

    def rank(self, entry: int) -> Rank:
        """Return a bound of the rank of attempts that begin at a time with an event of their first step.

        Events may fill several steps here, and optional ones in any order.
        """
        rules, at, until = self._rules, entry, entry + self._rules.window
        required = optional = 0
        for step in range(rules.steps):
            may_skip = rules.mode is OrderMode.UNORDERED or step in rules.optional
            time = self._next(step, entry if may_skip else at)
            if time is None or time > until:
                if may_skip:
                    continue
                break
            if step in rules.optional:
                optional += 1
            else:
                required, at = required + 1, max(at, time)
        return -required, -optional

    def _next(self, step: int, time: int) -> int | None:
        """Return the first time, not before one, of an event of a step."""
        if self._times_of is None:
            self._times_of = _by_step(self._times, self._masks)
        times = self._times_of[step]
        place = bisect_left(times, time)
        return times[place] if place < len(times) else None


def _by_step(times: Sequence[int], masks: Sequence[int]) -> defaultdict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    steps_of = {mask: [step for step in range(mask.bit_length()) if mask >> step & 1] for mask in set(masks)}
    for time, mask in zip(times, masks, strict=True):
        for step in steps_of[mask]:
            found[step].append(time)
    return found
