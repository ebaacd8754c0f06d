"""Who got how far through a funnel: everybody's best attempt, from columns of events.

Most people are matched together, in arrays: from each entry the earliest next step, again and again. That is
exact where no two events at one time compete for a step. People with such events, and funnels that ask for
more than plain order, are searched one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.funnels.rules import Entry, OrderMode, Rules
from services.funnels.search import History, best_attempt

# Stands for "not reached" in columns of times.
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Source:
    """Events: who and when (Unix µs), and for each the steps and the exclusions it is an event of.

    Bit i of a mask stands for step i, or exclusion i.
    """

    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    steps: NDArray[np.uint64]
    bans: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Matches:
    """People with an attempt, by rising key, and a row of step times for each, NEVER where absent."""

    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]


def match(sources: Sequence[Source], rules: Rules, entries: tuple[int, int]) -> Matches:
    """Return everybody's best attempt.

    Args:
        sources: each event once, though it may be of several steps; in any order.
        rules: of the funnel.
        entries: [start, end) in Unix µs, inside which attempts begin.

    """
    table = _sorted(sources)
    if rules.mode is not OrderMode.ORDERED or rules.optional:
        return _searched(table, rules, entries)
    alone = _compete(table)
    together = _chained(_rows(table, ~alone), rules, entries)
    return _joined(together, _searched(_rows(table, alone), rules, entries)) if alone.any() else together


def _sorted(sources: Sequence[Source]) -> Source:
    """Return all events by person, then time, then lowest step: at equal times in step order."""
    users, times, steps, bans = (
        np.concatenate([getattr(source, name) for source in sources])
        for name in ("user_keys", "times", "steps", "bans")
    )
    return _rows(Source(users, times, steps, bans), np.lexsort((steps & (~steps + 1), times, users)))


def _rows(table: Source, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Source:
    return Source(table.user_keys[rows], table.times[rows], table.steps[rows], table.bans[rows])


def _compete(table: Source) -> NDArray[np.bool_]:
    """Tell which rows are of people who must be searched.

    That is, of those with an exclusion event, or with an event of several steps and another one at its time.
    """
    users, times, steps = table.user_keys, table.times, table.steps
    if not len(users):
        return np.zeros(0, bool)
    with_next = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    is_tied = np.append(with_next, False) | np.insert(with_next, 0, False)
    rows = (is_tied & (steps & (steps - np.uint64(1)) != 0)) | (table.bans != 0)
    person = np.cumsum(np.diff(users, prepend=users[0]) != 0)
    people = np.zeros(person[-1] + 1, bool)
    people[person[rows]] = True
    rows_of_people: NDArray[np.bool_] = people[person]
    return rows_of_people


def _chained(table: Source, rules: Rules, entries: tuple[int, int]) -> Matches:
    """Match people together: positions in the table stand for (person, time, step)."""
    positions = [np.flatnonzero(table.steps >> np.uint64(step) & np.uint64(1)) for step in range(rules.steps)]
    begun = positions[0]
    begun = begun[(table.times[begun] >= entries[0]) & (table.times[begun] < entries[1])]
    users = table.user_keys[begun]
    firsts = np.flatnonzero(np.diff(users, prepend=-1))
    if rules.entry is Entry.FIRST:
        begun = begun[firsts]
    elif len(begun):
        levels = np.zeros(len(begun), np.int64)
        for alive, _ in _chain(table, rules.window, positions, begun):
            levels[alive] += 1
        # The highest level, then the earliest entry, of each person.
        best = np.maximum.reduceat(levels * (len(begun) + 1) - np.arange(len(begun)), firsts)
        begun = begun[-best % (len(begun) + 1)]
    times = np.full((len(begun), rules.steps), NEVER)
    for step, (alive, reached) in enumerate(_chain(table, rules.window, positions, begun)):
        times[alive, step] = table.times[reached]
    return Matches(table.user_keys[begun], times)


def _chain(
    table: Source, window: int, positions: Sequence[NDArray[np.intp]], begun: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield for each step which entries reach it, and where: at the earliest place behind the step before."""
    alive, reached = np.arange(len(begun)), begun
    yield alive, reached
    for candidates in positions[1:]:
        if not len(candidates):
            return
        following = np.searchsorted(candidates, reached, side="right")
        found = candidates[np.minimum(following, len(candidates) - 1)]
        entry = begun[alive]
        holds = (
            (following < len(candidates))
            & (table.user_keys[found] == table.user_keys[entry])
            & (table.times[found] - table.times[entry] <= window)
        )
        alive, reached = alive[holds], found[holds]
        yield alive, reached


def _searched(table: Source, rules: Rules, entries: tuple[int, int]) -> Matches:
    """Search person by person."""
    bounds = np.flatnonzero(np.diff(table.user_keys, prepend=-1, append=-1)).tolist()
    found: list[tuple[int, list[int]]] = []
    for start, end in pairwise(bounds):
        columns = (table.times, table.steps, table.bans)
        history = History(*(column[start:end].tolist() for column in columns))
        attempt = best_attempt(history, rules, entries)
        if attempt:
            times = [NEVER if time is None else time for time in attempt.times]
            found.append((int(table.user_keys[start]), times))
    times_of = np.array([times for _, times in found], np.int64).reshape(-1, rules.steps)
    return Matches(np.array([user for user, _ in found], np.int32), times_of)


def _joined(first: Matches, second: Matches) -> Matches:
    users = np.concatenate((first.user_keys, second.user_keys))
    order = np.argsort(users)
    return Matches(users[order], np.concatenate((first.times, second.times))[order])
