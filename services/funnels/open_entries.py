"""Who may come further yet: people with an attempt whose window is still open."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.funnels.columns import NEVER
from services.funnels.rules import Entry, OrderMode, Rules

if TYPE_CHECKING:
    from services.funnels.columns import Matches, Source


def late_entries(events: "Source", rules: Rules, entries: tuple[int, int], now: int) -> "Source":
    """Return the events inside [start, end) that may begin an attempt whose window is open at `now`."""
    start, end = max(now - rules.window, entries[0]), entries[1]
    late = np.flatnonzero(events.times >= start)  # few, as a rule
    steps = events.steps[late]
    fills = steps if rules.mode is OrderMode.UNORDERED else steps & np.uint64(1)
    return events.rows(late[(fills != 0) & (events.times[late] < end)])


def open_people(
    late: "Source", matches: "Matches", rules: Rules, entries: tuple[int, int], now: int
) -> NDArray[np.bool_]:
    """Tell for each person with an attempt whether they have not finished but may.

    Args:
        late: the late entries of now, or of a moment before.
        matches: the attempts that count.
        rules: of the funnel.
        entries: [start, end) in Unix µs, inside which attempts begin.
        now: Unix µs.

    """
    unfinished = matches.times[:, -1] == NEVER
    since = now - rules.window
    if rules.entry is Entry.FIRST:
        first: NDArray[np.bool_] = unfinished & (matches.times[:, 0] >= since)
        return first
    if entries[1] <= since or not len(late):
        return np.zeros(len(unfinished), bool)
    found: NDArray[np.bool_] = unfinished & np.isin(matches.user_keys, late.user_keys[late.times >= since])
    return found
