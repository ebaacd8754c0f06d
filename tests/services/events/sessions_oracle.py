"""Sessions counted by brute force from the definition: one event after the other, in plain Python."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import NamedTuple

GAP = 30 * 60 * 1_000_000


class Seen(NamedTuple):
    """An event: whose, of which session id, when (Unix µs), and whether it has a page."""

    who: Hashable
    session: Hashable
    time: int
    has_page: bool


class Session(NamedTuple):
    """A session: its first and last event, its events, and those with a page."""

    who: Hashable
    session: Hashable
    start: int
    end: int
    events: int
    pages: int


def sessions(seen: Iterable[Seen]) -> list[Session]:
    """Return the sessions in order."""
    times: dict[tuple[Hashable, Hashable], list[tuple[int, bool]]] = defaultdict(list)
    for event in seen:
        times[event.who, event.session].append((event.time, event.has_page))
    found = []
    for (who, session), visits in times.items():
        current: list[tuple[int, bool]] = []
        for visit in sorted(visits):
            if current and visit[0] - current[-1][0] > GAP:
                found.append(_session(who, session, current))
                current = []
            current.append(visit)
        found.append(_session(who, session, current))
    return sorted(found)


def _session(who: Hashable, session: Hashable, visits: list[tuple[int, bool]]) -> Session:
    return Session(who, session, visits[0][0], visits[-1][0], len(visits), sum(page for _, page in visits))
