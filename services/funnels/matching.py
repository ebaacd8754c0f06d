"""Who got how far through a funnel: everybody's best attempt, from columns of events.

Most people are matched together, in arrays. Those with events that compete for a step, and everybody in
funnels that ask for more than plain order, are searched one by one.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

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
    """Search person by person, those who begin at all."""
    events = events.rows(np.isin(events.user_keys, events.user_keys[_begin(events, rules, entries)]))
    table = events.rows(np.lexsort((events.times, events.user_keys)))
    bounds = np.flatnonzero(np.diff(table.user_keys, prepend=-1, append=-1)).tolist()
    found: list[tuple[int, list[int]]] = []
    for start, end in pairwise(bounds):
        columns = (table.times, table.steps, table.bans)
        history = History(*(column[start:end].tolist() for column in columns))
        proceed()
        attempt = best_attempt(history, rules, entries)
        if attempt:
            times = [NEVER if time is None else time for time in attempt.times]
            found.append((int(table.user_keys[start]), times))
    times_of = np.array([times for _, times in found], np.int64).reshape(-1, rules.steps)
    return Matches(np.array([user for user, _ in found], np.int32), times_of)


def _begin(events: Source, rules: Rules, entries: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which events may begin an attempt."""
    fills = events.steps if rules.mode is OrderMode.UNORDERED else events.steps & np.uint64(1)
    begins: NDArray[np.bool_] = (fills != 0) & (events.times >= entries[0]) & (events.times < entries[1])
    return begins
