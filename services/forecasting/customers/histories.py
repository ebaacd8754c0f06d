"""Purchase histories as the models take them: how often, how recently, for how long, how much."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WEEK_MICROS = 7 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Purchases:
    """Purchases in any order, (n,) each: key of who bought, Unix microseconds, amount.

    Purchases of one day count as one, of the sum of their amounts.
    """

    keys: NDArray[np.int64]
    times: NDArray[np.int64]
    amounts: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histories:
    """One row for each customer, in the order of `keys`; times in weeks.

    `frequency` counts repeat purchases, `recency` is the time from the first purchase to the last, `age` from
    the first to the end of what was seen. `repeat_amount` is the mean amount of the repeat purchases, 0
    without any; `spent` is everything, the first purchase included.
    """

    keys: NDArray[np.int64]
    frequency: NDArray[np.float64]
    recency: NDArray[np.float64]
    age: NDArray[np.float64]
    repeat_amount: NDArray[np.float64]
    spent: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What customers did in a later span, in the order of keys: days with a purchase, and amounts."""

    purchases: NDArray[np.float64]
    amounts: NDArray[np.float64]


def daily(purchases: Purchases, day_starts: NDArray[np.int64]) -> Purchases:
    """Return purchases with those of one customer on one day joined, by customer and time.

    `day_starts` are where days begin, rising, in Unix microseconds; the first is before every purchase. Times
    become the beginnings of days.
    """
    days = np.searchsorted(day_starts, purchases.times, side="right") - 1
    order = np.lexsort((days, purchases.keys))
    keys, days, amounts = purchases.keys[order], days[order], purchases.amounts[order]
    first = np.ones(keys.size, bool)
    first[1:] = (keys[1:] != keys[:-1]) | (days[1:] != days[:-1])
    starts = np.flatnonzero(first)
    sums = np.add.reduceat(amounts, starts) if starts.size else amounts[:0]
    return Purchases(keys[starts], day_starts[days[starts]], sums)


def histories(purchases: Purchases, end: int) -> Histories:
    """Return who bought before `end` and how, from purchases as `daily` returns them."""
    seen = purchases.times < end
    keys, times, amounts = purchases.keys[seen], purchases.times[seen], purchases.amounts[seen]
    customers, starts, counts = np.unique(keys, return_index=True, return_counts=True)
    first, last = times[starts], times[starts + counts - 1]
    spent = np.add.reduceat(amounts, starts) if starts.size else amounts[:0]
    frequency = (counts - 1).astype(np.float64)
    repeat = np.divide(spent - amounts[starts], frequency, out=np.zeros(customers.size), where=frequency > 0)
    return Histories(
        customers, frequency, (last - first) / WEEK_MICROS, (end - first) / WEEK_MICROS, repeat, spent
    )


def outcomes(purchases: Purchases, customers: NDArray[np.int64], start: int, end: int) -> Outcome:
    """Return what these customers (sorted) did in [start, end)."""
    inside = (purchases.times >= start) & (purchases.times < end) & np.isin(purchases.keys, customers)
    rows = np.searchsorted(customers, purchases.keys[inside])
    counts: NDArray[np.float64] = np.bincount(rows, minlength=customers.size).astype(np.float64)
    amounts = np.bincount(rows, weights=purchases.amounts[inside], minlength=customers.size).astype(
        np.float64
    )
    return Outcome(counts, amounts)
