"""Which events are whose conversions: numpy over columns, pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.experiments.results.totals import Sums

# What ScanEvents sends where an event has no value.
NO_VALUE = np.iinfo(np.int64).min
_HALF = 32


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


def two_variants(people: People) -> NDArray[np.bool_]:
    """Return of each whether the same key has another variant too."""
    order = np.lexsort((people.variants, people.keys))
    keys, variants = people.keys[order], people.variants[order]
    differs = (keys[1:] == keys[:-1]) & (variants[1:] != variants[:-1])
    found = np.zeros(len(keys), np.bool_)
    found[order] = np.isin(keys, np.unique(keys[1:][differs]))
    return found


def sums_of(
    people: People, chunks: Iterable[Events], window: int | None, until: int | None
) -> dict[int, Sums]:
    """Return the sums of each variant over events from the first exposure on.

    Of several ids of one key the one exposed first has the events. Args are in Unix microseconds.
    """
    order = np.lexsort((people.exposed, people.keys))
    keys, first = np.unique(people.keys[order], return_index=True)
    mine = order[first]
    exposed, variants = people.exposed[mine], people.variants[mine]
    conversions = np.zeros(len(keys), np.int64)
    # In two halves: a few of the largest values would overflow one.
    high, low = np.zeros((2, len(keys)), np.int64)
    for chunk in chunks:
        at = np.searchsorted(keys, chunk.keys)
        known = at < len(keys)
        known[known] = keys[at[known]] == chunk.keys[known]
        at, times, values = at[known], chunk.times[known], chunk.values[known]
        counts = times >= exposed[at]
        if window is not None:
            counts &= times < exposed[at] + window
        if until is not None:
            counts &= times < until
        at, values = at[counts], values[counts]
        np.add.at(conversions, at, 1)
        values = np.where(values == NO_VALUE, 0, values)
        np.add.at(high, at, values >> _HALF)
        np.add.at(low, at, values & ((1 << _HALF) - 1))
    return {
        int(variant): _sums(conversions[of_it], high[of_it], low[of_it])
        for variant in np.unique(variants)
        for of_it in [variants == variant]
    }


def _sums(conversions: NDArray[np.int64], high: NDArray[np.int64], low: NDArray[np.int64]) -> Sums:
    # Python's numbers, which squares do not overflow.
    did = conversions > 0
    numbers = conversions[did].tolist()
    halves = zip(high[did].tolist(), low[did].tolist(), strict=True)
    amounts = [(upper << _HALF) + lower for upper, lower in halves]
    return Sums(
        converted=len(numbers),
        conversions=sum(numbers),
        squared_conversions=sum(number * number for number in numbers),
        total=sum(amounts),
        squared_total=sum(amount * amount for amount in amounts),
        product=sum(number * amount for number, amount in zip(numbers, amounts, strict=True)),
    )
