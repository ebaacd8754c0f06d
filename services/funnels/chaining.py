"""Everybody at once through a plain ordered funnel: from each entry the earliest next step, again and again.

Where any two events fill the same steps or none in common, those at one time that fill the same ones are
alike, and it is enough to count how many of them are used. Otherwise an event of several steps competes with
its neighbours at its time; who has such events is said, and is not matched here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.funnels.columns import NEVER, Matches, Packing, Source
from services.funnels.rules import Entry, Rules

Packed = NDArray[np.int64]
# Runs of events with the same mask that are worth being told apart.
_FEW_RUNS = 1_000


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
    alone = np.zeros(len(packing.people), bool)
    alone[packing.places[events.bans != 0]] = True
    kinds = _kinds(events.steps, rules.steps)
    shared = np.empty(0, np.int64)
    if kinds is None:
        shared = np.sort(packed[events.steps & (events.steps - np.uint64(1)) != 0])
        alone[_tied(packed, shared) // packing.span] = True
    others, masks = np.zeros(len(events), bool), events.steps
    if alone.any():
        others = alone[packing.places]
        masks = np.where(others, np.uint64(0), masks)
    chains = _Chains(_sorted(packed, masks, rules.steps, kinds), kinds, shared, rules.window)
    return _best(chains, packing, rules, entries), others


def _kinds(masks: NDArray[np.uint64], steps: int) -> list[int] | None:
    """Return for each step which kind of events fills it; None where two kinds fill the same step."""
    different = _different(masks)
    kinds = list(range(len(different), len(different) + steps))  # of steps that nothing fills
    for kind, mask in enumerate(different):
        for step in range(steps):
            if mask >> step & 1:
                if kinds[step] < kind:
                    return None
                kinds[step] = kind
    return kinds


def _different(masks: NDArray[np.uint64]) -> list[int]:
    """Return the different masks but 0, rising. Most stand in long runs of the same."""
    found: list[int] = np.unique(masks[np.append(0, _bounds(masks))]).tolist()
    return [mask for mask in found if mask]


def _sorted(packed: Packed, masks: NDArray[np.uint64], steps: int, kinds: list[int] | None) -> list[Packed]:
    """Return the numbers of the events of each step, rising; steps of one kind share an array."""
    if kinds is None:
        return [np.sort(packed[masks >> np.uint64(step) & np.uint64(1) != 0]) for step in range(steps)]
    of_kind: dict[int, Packed] = {}
    for kind in kinds:
        if kind not in of_kind:
            mask = sum(1 << each for each in range(steps) if kinds[each] == kind)
            of_kind[kind] = _with_mask(packed, masks, mask)
            of_kind[kind].sort()
    return [of_kind[kind] for kind in kinds]


def _with_mask(packed: Packed, masks: NDArray[np.uint64], mask: int) -> Packed:
    """Return a copy of the numbers of the events with a mask: whole runs, where runs are long."""
    bounds = _bounds(masks)
    if len(bounds) > _FEW_RUNS:
        found: Packed = packed[masks == np.uint64(mask)]
        return found
    runs = pairwise((0, *bounds.tolist(), len(masks)))
    parts = [packed[start:end] for start, end in runs if masks[start] == mask]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _bounds(masks: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return where another mask begins."""
    return np.flatnonzero(masks[1:] != masks[:-1]) + 1


def _tied(packed: Packed, shared: Packed) -> Packed:
    """Return the numbers that an event of several steps has in common with another event."""
    candidates = np.sort(packed[_is_in(packed, shared)])
    twice: Packed = candidates[1:][candidates[1:] == candidates[:-1]]
    return twice


def _is_in(values: Packed, ordered: Packed) -> NDArray[np.bool_]:
    places = np.searchsorted(ordered, values).clip(max=len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[places] == values
    return found


def _best(chains: "_Chains", packing: Packing, rules: Rules, entries: tuple[int, int]) -> Matches:
    begun = chains.steps[0]
    entered = packing.times(begun)
    inside = (entered >= entries[0]) & (entered < entries[1])
    if not inside.all():
        begun = begun[inside]
    is_first = np.diff(begun // packing.span, prepend=-1) != 0
    if rules.entry is Entry.FIRST:
        begun = begun[is_first]
        is_first = np.ones(len(begun), bool)
    people = np.cumsum(is_first) - 1
    ways = list(chains.follow(begun))
    rows = np.flatnonzero(is_first)
    for alive, _ in ways[1:]:  # the highest level, then the earliest entry, of each person
        leads = np.flatnonzero(np.diff(people[alive], prepend=-1))
        rows[people[alive[leads]]] = alive[leads]
    return Matches(packing.users(begun[rows]), _times(ways, rows, people, packing, rules.steps))


def _times(
    ways: Sequence[tuple[NDArray[np.intp], Packed]],
    rows: NDArray[np.intp],
    people: NDArray[np.intp],
    packing: Packing,
    steps: int,
) -> NDArray[np.int64]:
    """Return the times of the steps of the entry at each person's row; `people` says whose each entry is."""
    times = np.full((len(rows), steps), NEVER, order="F")
    times[:, 0] = packing.times(ways[0][1][rows])
    for step, (alive, reached) in enumerate(ways[1:], 1):
        chosen = np.flatnonzero(rows[people[alive]] == alive)
        times[people[alive[chosen]], step] = packing.times(reached[chosen])
    return times


@dataclass(frozen=True, slots=True)
class _Chains:
    """Ways through a funnel. steps: the numbers of each step's events, rising.

    kinds: which kind of events fills each step, None where kinds overlap; then `shared` are the numbers of
    events that fill several steps, none of which has another event at its time.
    """

    steps: Sequence[Packed]
    kinds: list[int] | None
    shared: Packed
    window: int

    def follow(self, begun: Packed) -> Iterator[tuple[NDArray[np.intp], Packed]]:
        """Yield for each step which entries reach it, and at which number: the earliest there is."""
        alive, reached = np.arange(len(begun)), begun
        used = _Used(self.kinds, reached)
        yield alive, reached
        for step, candidates in enumerate(self.steps[1:], 1):
            if not len(candidates) or not len(alive):
                return
            following = np.searchsorted(candidates, reached)
            if self.kinds is not None:
                following += used.at(step, reached)
            elif len(self.shared):  # an event that has filled a step is not there for the next one
                same = candidates[np.minimum(following, len(candidates) - 1)] == reached
                following += same & _is_in(reached, self.shared)
            found = candidates[np.minimum(following, len(candidates) - 1)]
            holds = (following < len(candidates)) & (found - begun[alive] <= self.window)
            alive, reached = alive[holds], found[holds]
            used.fill(step, holds, reached)
            yield alive, reached


class _Used:
    """How many events of each kind that fills several steps are used at the latest number that one was."""

    def __init__(self, kinds: list[int] | None, begun: Packed) -> None:
        self._kinds = kinds or []
        self._latest = {kind: np.full(len(begun), -1) for kind in self._kinds if self._kinds.count(kind) > 1}
        self._counts = {kind: np.zeros(len(begun), np.int64) for kind in self._latest}
        if kinds is not None:
            self.fill(0, np.ones(len(begun), bool), begun)

    def at(self, step: int, reached: Packed) -> "NDArray[np.int64] | int":
        """Return how many events of a step's kind are used at the numbers that were reached."""
        kind = self._kinds[step]
        if kind not in self._latest:
            return 0
        return np.where(self._latest[kind] == reached, self._counts[kind], 0)

    def fill(self, step: int, holds: NDArray[np.bool_], reached: Packed) -> None:
        """Go on with those entries alone that hold, each of which used an event of a step at a number."""
        for kind in self._latest:
            self._latest[kind], self._counts[kind] = self._latest[kind][holds], self._counts[kind][holds]
        kind = self._kinds[step] if self._kinds else -1
        if kind in self._latest:
            again = self._latest[kind] == reached
            self._counts[kind] = np.where(again, self._counts[kind] + 1, 1)
            self._latest[kind] = reached
