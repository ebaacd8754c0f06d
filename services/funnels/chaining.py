"""Everybody at once through a plain ordered funnel: from each entry the earliest next step, again and again.

Exact for people of whom no event of several steps has another event at its time; who the others are, is said.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from services.funnels.columns import NEVER, Matches, Packing, Source
from services.funnels.rules import Entry, Rules

Packed = NDArray[np.int64]


def chain(
    events: Source, packing: Packing, rules: Rules, entries: tuple[int, int]
) -> tuple[Matches, NDArray[np.bool_]]:
    """Return the best attempts of those who can be matched together, and which rows are of the others.

    Args:
        events: each once, at least one, in any order.
        packing: of these events.
        rules: of a funnel in order, without optional steps.
        entries: [start, end) in Unix µs, inside which attempts begin.

    """
    packed = packing.pack(events.times)
    is_shared = events.steps & (events.steps - np.uint64(1)) != 0
    shared = np.sort(packed[is_shared])
    alone = np.zeros(len(packing.people), bool)
    alone[packing.places[events.bans != 0]] = True
    if len(shared):
        alone[_tied(packed, shared) // packing.span] = True
    others = alone[packing.places]
    steps = [
        np.sort(packed[(events.steps >> np.uint64(step) & np.uint64(1) != 0) & ~others])
        for step in range(rules.steps)
    ]
    return _best(steps, shared, packing, rules, entries), others


def _tied(packed: Packed, shared: Packed) -> Packed:
    """Return the numbers that an event of several steps has in common with another event."""
    candidates = np.sort(packed[_is_in(packed, shared)])
    twice: Packed = candidates[1:][candidates[1:] == candidates[:-1]]
    return twice


def _is_in(values: Packed, ordered: Packed) -> NDArray[np.bool_]:
    places = np.searchsorted(ordered, values).clip(max=len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[places] == values
    return found


def _best(
    steps: Sequence[Packed], shared: Packed, packing: Packing, rules: Rules, entries: tuple[int, int]
) -> Matches:
    begun = steps[0]
    entered = packing.times(begun)
    begun = begun[(entered >= entries[0]) & (entered < entries[1])]
    firsts = np.flatnonzero(np.diff(begun // packing.span, prepend=-1))
    if rules.entry is Entry.FIRST:
        begun = begun[firsts]
    elif len(begun) > len(firsts):
        levels = np.zeros(len(begun), np.int64)
        for alive, _ in _follow(steps, shared, rules.window, begun):
            levels[alive] += 1
        # The highest level, then the earliest entry, of each person.
        best = np.maximum.reduceat(levels * (len(begun) + 1) - np.arange(len(begun)), firsts)
        begun = begun[-best % (len(begun) + 1)]
    times = np.full((len(begun), rules.steps), NEVER)
    for step, (alive, reached) in enumerate(_follow(steps, shared, rules.window, begun)):
        times[alive, step] = packing.times(reached)
    return Matches(packing.users(begun), times)


def _follow(
    steps: Sequence[Packed], shared: Packed, window: int, begun: Packed
) -> Iterator[tuple[NDArray[np.intp], Packed]]:
    """Yield for each step which entries reach it, and at which number: the earliest after the step before."""
    alive, reached = np.arange(len(begun)), begun
    yield alive, reached
    for candidates in steps[1:]:
        if not len(candidates) or not len(alive):
            return
        following = np.searchsorted(candidates, reached)
        if len(shared):  # an event that has filled a step is not there for the next one
            same = candidates[np.minimum(following, len(candidates) - 1)] == reached
            following += same & _is_in(reached, shared)
        found = candidates[np.minimum(following, len(candidates) - 1)]
        ahead = found - begun[alive]
        holds = (following < len(candidates)) & (ahead <= window)
        alive, reached = alive[holds], found[holds]
        yield alive, reached
