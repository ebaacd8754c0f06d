"""Which events are whose conversions: numpy over columns, pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.experiments.results.totals import Sums

# What ScanEvents sends where an event has no value.
NO_VALUE = np.iinfo(np.int64).min
_HALF = 32
# A total is three limbs of 20 bits; a block's sums of products of two, 2⁴⁰ each at most, stay below 2⁶³.
_LIMB = 20
_LIMBS = 3
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class People:
    """Columns of the same people: keys of the events service, variants, first exposures (Unix µs)."""

    keys: NDArray[np.int32]
    variants: NDArray[np.int16]
    exposed: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of the same events: keys of who did them, times (Unix µs), values (millionths or NO_VALUE)."""

    keys: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """Columns of those who have the events of a key, one for each, by key.

    Of several ids of one key the one exposed first has its events.
    """

    keys: NDArray[np.int32]
    variants: NDArray[np.int16]
    exposed: NDArray[np.int64]

    def before(self, until: int) -> "Owners":
        """Return those exposed before a moment in Unix microseconds."""
        early = self.exposed < until
        return Owners(self.keys[early], self.variants[early], self.exposed[early])


def owners_of(people: People) -> Owners:
    """Return who has the events of each key."""
    order = np.argsort(people.keys, kind="stable")
    if _repeats(people.keys[order]):
        order = np.lexsort((people.exposed, people.keys))
    keys = people.keys[order]
    mine = order[np.r_[True, keys[1:] != keys[:-1]][: len(keys)]]
    return Owners(people.keys[mine], people.variants[mine], people.exposed[mine])


def two_variants(people: People) -> NDArray[np.bool_]:
    """Return of each whether the same key has another variant too."""
    found = np.zeros(len(people.keys), np.bool_)
    if not _repeats(np.sort(people.keys)):
        return found
    order = np.lexsort((people.variants, people.keys))
    keys, variants = people.keys[order], people.variants[order]
    differs = (keys[1:] == keys[:-1]) & (variants[1:] != variants[:-1])
    found[order] = np.isin(keys, np.unique(keys[1:][differs]))
    return found


def _repeats(keys: NDArray[np.int32]) -> bool:
    """Return whether any key in order comes twice, as few do."""
    return bool((keys[1:] == keys[:-1]).any())


def sums_of(
    owners: Owners, chunks: Iterable[Events], window: int | None, until: int | None
) -> dict[int, Sums]:
    """Return the sums of each variant over events from the first exposure on.

    Args are in Unix microseconds.
    """
    conversions = np.zeros(len(owners.keys), np.int64)
    # In two halves: a few of the largest values would overflow one.
    high, low = np.zeros((2, len(owners.keys)), np.int64)
    for chunk in chunks:
        at, known = places(owners.keys, chunk.keys)
        at, times, values = at[known], chunk.times[known], chunk.values[known]
        exposed = owners.exposed[at]
        counts = times >= exposed
        if window is not None:
            counts &= times < exposed + window
        if until is not None:
            counts &= times < until
        at, values = at[counts], values[counts]
        np.add.at(conversions, at, 1)
        values = np.where(values == NO_VALUE, 0, values)
        np.add.at(high, at, values >> _HALF)
        np.add.at(low, at, values & ((1 << _HALF) - 1))
    did = np.flatnonzero(conversions)
    variants = owners.variants[did]
    return {
        int(variant): _sums(conversions[of_it], high[of_it], low[of_it])
        for variant in np.flatnonzero(np.bincount(owners.variants))
        for of_it in [did[variants == variant]]
    }


def places(keys: NDArray[np.int32], wanted: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return where each wanted key stands among keys in order, and whether it does."""
    at = np.searchsorted(keys, wanted)
    known = at < len(keys)
    known[known] = keys[at[known]] == wanted[known]
    return at, known


def _sums(conversions: NDArray[np.int64], high: NDArray[np.int64], low: NDArray[np.int64]) -> Sums:
    """Return the sums of people who converted, exactly."""
    fits = (np.abs(high) < 1 << (_LIMBS * _LIMB - 1 - _HALF)) & (conversions < 1 << _LIMB)
    sums = [0] * 6
    for at in range(0, len(conversions), _BLOCK):
        block = slice(at, at + _BLOCK)
        small = fits[block]
        totals = (high[block][small] << _HALF) + low[block][small]
        part = _small_sums(conversions[block][small], totals)
        sums = [before + added for before, added in zip(sums, part, strict=True)]
    large = np.flatnonzero(~fits)
    halves = zip(conversions[large].tolist(), high[large].tolist(), low[large].tolist(), strict=True)
    for number, upper, lower in halves:  # Python's numbers, which squares do not overflow
        amount = (upper << _HALF) + lower
        added = (1, number, number * number, amount, amount * amount, number * amount)
        sums = [before + each for before, each in zip(sums, added, strict=True)]
    return Sums(*sums)


def _small_sums(numbers: NDArray[np.int64], totals: NDArray[np.int64]) -> list[int]:
    """Return the sums of at most a block of people, from limbs whose products add up without overflow."""
    mask = (1 << _LIMB) - 1
    limbs = [(totals >> (_LIMB * place)) & mask for place in range(_LIMBS - 1)]
    limbs.append(totals >> (_LIMB * (_LIMBS - 1)))
    squared = product = 0
    for place, limb in enumerate(limbs):
        product += int(np.dot(numbers, limb)) << (_LIMB * place)
        for other_place, other in enumerate(limbs):
            squared += int(np.dot(limb, other)) << (_LIMB * (place + other_place))
    return [
        len(numbers),
        int(numbers.sum()),
        int(np.dot(numbers, numbers)),
        sum(int(limb.sum()) << (_LIMB * place) for place, limb in enumerate(limbs)),
        squared,
        product,
    ]
