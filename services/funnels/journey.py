"""Every attempt of one person, and why it counts or not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from services.funnels.rules import Attempt, Entry, Rules
from services.funnels.search import History, Search, entry_events


class AttemptFate(Enum):
    """Why an attempt counts or not."""

    COUNTS = "counts"
    SHORTER = "shorter"
    LATER = "later"
    SPOILED = "spoiled"
    NOT_FIRST = "not first"


@dataclass(frozen=True, slots=True)
class Tried:
    """The best attempt from one event; a spoiled one as it would be without exclusions."""

    attempt: Attempt
    fate: AttemptFate


def journey(
    history: History, rules: Rules, entries: tuple[int, int], proceed: Callable[[], None] = lambda: None
) -> list[Tried]:
    """Return the attempts that begin in [start, end), by time of entry; at most one counts.

    `proceed` is called again and again, and raises where nobody waits any more.
    """
    events = entry_events(history, rules, entries)
    if not events:
        return []
    first = history.times[events[0]]
    search = Search(history, rules, proceed)
    unspoiled = Search(history, replace(rules, exclusions=()), proceed)
    tried = [_tried(search, unspoiled, event, first) for event in events]
    candidates = [each.attempt for each in tried if each.fate is AttemptFate.COUNTS]
    best = min(candidates, key=lambda attempt: attempt.rank(rules.optional), default=None)
    counted = False
    told = []
    for each in tried:
        fate = each.fate
        if fate is AttemptFate.COUNTS and best is not None:
            fate = _fate(each.attempt, best, rules, counted=counted)
            counted |= fate is AttemptFate.COUNTS
        told.append(Tried(each.attempt, fate))
    return told


def _tried(search: Search, unspoiled: Search, event: int, first: int) -> Tried:
    """Return an attempt whose fate is COUNTS while it may count; `unspoiled` searches without exclusions."""
    attempt = search.attempt_from(event)
    fate = AttemptFate.COUNTS
    if attempt is None:
        attempt, fate = unspoiled.attempt_from(event), AttemptFate.SPOILED
        assert attempt is not None, "exclusions alone spoil attempts"
    if search.rules.entry is Entry.FIRST and search.history.times[event] != first:
        fate = AttemptFate.NOT_FIRST
    return Tried(attempt, fate)


def _fate(attempt: Attempt, best: Attempt, rules: Rules, *, counted: bool) -> AttemptFate:
    if attempt == best:
        return AttemptFate.LATER if counted else AttemptFate.COUNTS
    is_shorter = attempt.rank(rules.optional)[:2] > best.rank(rules.optional)[:2]
    return AttemptFate.SHORTER if is_shorter else AttemptFate.LATER
