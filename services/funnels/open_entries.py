"""Who may come further yet: people with an attempt whose window is still open."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.funnels.columns import NEVER
from services.funnels.rules import Entry, OrderMode, Rules

if TYPE_CHECKING:
    from services.funnels.columns import Matches, Source


def open_people(
    events: "Source", matches: "Matches", rules: Rules, entries: tuple[int, int], now: int
) -> NDArray[np.bool_]:
    """Tell for each person with an attempt whether they have not finished but may.

    Args:
        events: as they were matched.
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
    if entries[1] <= since:
        return np.zeros(len(unfinished), bool)
    begins = events.steps != 0 if rules.mode is OrderMode.UNORDERED else events.steps & np.uint64(1) != 0
    late = begins & (events.times >= max(since, entries[0])) & (events.times < entries[1])
    found: NDArray[np.bool_] = unfinished & np.isin(matches.user_keys, events.user_keys[late])
    return found
