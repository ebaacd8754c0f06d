"""Who got how far through a funnel: everybody's best attempt, from columns of events.

Most people are matched together, in arrays. Those with events that compete for a step, and everybody in
funnels that ask for more than plain order, are searched one by one.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.funnels.chaining import chain
from services.funnels.columns import NEVER, Matches, Packing, Source
from services.funnels.rules import OrderMode, Rules
from services.funnels.search import History, best_attempt


def match(
    sources: Sequence[Source],
    rules: Rules,
    entries: tuple[int, int],
    proceed: Callable[[], None] = lambda: None,
) -> Matches:
    """Return everybody's best attempt.

    Args:
        sources: each event once, though it may be of several steps; in any order.
        rules: of the funnel.
        entries: [start, end) in Unix µs, inside which attempts begin.
        proceed: called again and again; raises where nobody waits any more.

    """
    events = Source.joined(sources)
    is_plain = rules.mode is OrderMode.ORDERED and not rules.optional
    packing = Packing.of(events, rules.window) if is_plain and len(events) else None
    if packing is None:
        return _searched(events, rules, entries, proceed)
    proceed()
    together, others = chain(events, packing, rules, entries)
    if not others.any():
        return together
    return together.joined(_searched(events.rows(others), rules, entries, proceed))


def _searched(events: Source, rules: Rules, entries: tuple[int, int], proceed: Callable[[], None]) -> Matches:
    """Search person by person, those who begin at all and have events of different steps."""
    events = events.rows(np.isin(events.user_keys, events.user_keys[_begin(events, rules, entries)]))
    if not len(events):
        return Matches(np.empty(0, np.int32), np.empty((0, rules.steps), np.int64))
    table = _thinned(events, rules.steps)
    bounds = np.flatnonzero(np.diff(table.user_keys, prepend=-1, append=-1))
    alone = _fill_one_step(table, bounds[:-1], rules)
    settled = _entered(table.rows(np.repeat(alone, np.diff(bounds))), rules, entries)
    found: list[tuple[int, list[int]]] = []
    for start, end in zip(bounds[:-1][~alone].tolist(), bounds[1:][~alone].tolist(), strict=True):
        columns = (table.times, table.steps, table.bans)
        history = History(*(column[start:end].tolist() for column in columns))
        attempt = best_attempt(history, rules, entries, proceed)
        if attempt:
            times = [NEVER if time is None else time for time in attempt.times]
            found.append((int(table.user_keys[start]), times))
    times_of = np.array([times for _, times in found], np.int64).reshape(-1, rules.steps)
    return settled.joined(Matches(np.array([user for user, _ in found], np.int32), times_of))


def _thinned(events: Source, copies: int) -> Source:
    """Return events by person and time, of those that are alike so many: each step takes one of them."""
    table = events.rows(np.lexsort((events.bans, events.steps, events.times, events.user_keys)))
    repeats = np.zeros(len(table), bool)
    columns = (table.user_keys, table.times, table.steps, table.bans)
    repeats[copies:] = np.logical_and.reduce([column[copies:] == column[:-copies] for column in columns])
    return table.rows(~repeats)


def _fill_one_step(table: Source, firsts: NDArray[np.intp], rules: Rules) -> NDArray[np.bool_]:
    """Tell for people, whose rows begin at `firsts`, who can fill one step alone and is not spoiled."""
    filled = np.bitwise_or.reduceat(table.steps, firsts)
    is_unordered = rules.mode is OrderMode.UNORDERED
    rest = filled & (filled - np.uint64(1)) if is_unordered else filled & ~np.uint64(1)
    alone: NDArray[np.bool_] = (rest == 0) & (np.bitwise_or.reduceat(table.bans, firsts) == 0)
    return alone


def _entered(table: Source, rules: Rules, entries: tuple[int, int]) -> Matches:
    """Return the attempts of people who fill one step alone, whose rows are in order: their first entries."""
    begun = table.rows(_begin(table, rules, entries))
    user_keys, firsts = np.unique(begun.user_keys, return_index=True)
    times = np.full((len(user_keys), rules.steps), NEVER)
    times[:, 0] = begun.times[firsts]
    return Matches(user_keys, times)


def _begin(events: Source, rules: Rules, entries: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which events may begin an attempt."""
    fills = events.steps if rules.mode is OrderMode.UNORDERED else events.steps & np.uint64(1)
    begins: NDArray[np.bool_] = (fills != 0) & (events.times >= entries[0]) & (events.times < entries[1])
    return begins
