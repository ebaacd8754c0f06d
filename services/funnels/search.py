"""The exact search through one person's events: every entry, every way on from it, the best that holds.

An attempt begins with an event of step 0 and cannot be lengthened: no further event of a next step lies
behind it in its window. It is spoiled where an exclusion event lies strictly after step `after` and strictly
before step `before`, or up to the end of its window where `before` was not reached.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from services.funnels.fitting import augment, can_fill
from services.funnels.outlook import Outlook, Rank, possible_rank
from services.funnels.rules import Attempt, Entry, OrderMode, Rules


@dataclass(frozen=True, slots=True)
class History:
    """A person's events in the order of time (Unix µs).

    Bit i of steps[n] says that event n may fill step i, bit i of bans[n] that it is an event of exclusion i.
    Events with neither matter to strict funnels alone.
    """

    times: Sequence[int]
    steps: Sequence[int]
    bans: Sequence[int]

    def from_entry(self, entry: int, window: int) -> "Iterator[tuple[int, list[int]]]":
        """Yield each time from that of an event to the window's end and the events at it, but the entry."""
        first, until = entry, self.times[entry] + window
        while first and self.times[first - 1] == self.times[entry]:
            first -= 1
        events = range(first, len(self.times))
        for time, group in groupby(events, key=self.times.__getitem__):
            if time > until:
                return
            yield time, [event for event in group if event != entry]


def best_attempt(
    history: History, rules: Rules, entries: tuple[int, int], proceed: Callable[[], None] = lambda: None
) -> Attempt | None:
    """Return the attempt that counts: highest level, then earliest entry, then earliest times.

    None where nobody entered, or where every attempt is spoiled.

    Args:
        history: of one person.
        rules: of the funnel.
        entries: [start, end) in Unix µs, inside which attempts begin.
        proceed: called again and again; raises where nobody waits any more.

    """
    begun = entry_events(history, rules, entries)
    if rules.entry is Entry.FIRST:
        begun = [event for event in begun if history.times[event] == history.times[begun[0]]]
    return _best_from(Search(history, rules, proceed), begun)


def _best_from(search: "Search", begun: Sequence[int]) -> Attempt | None:
    """Return the best attempt that begins with one of these events, which are in the order of time.

    Of two attempts that fill as much the one that begins sooner is the better: what can at best be filled
    from an entry, and from any, tells which need not be tried.
    """
    history, optional = search.history, search.rules.optional
    outlook = Outlook(history.times, history.steps, search.rules)
    best: Attempt | None = None
    rank: tuple[int, int, tuple[float, ...]] = (0, 0, ())
    tried: set[tuple[int, int]] = set()
    for event in begun:
        alike = history.times[event], history.steps[event]
        if alike in tried:
            continue
        if best is not None and history.times[event] > best.entry:
            if rank[:2] <= search.possible:
                break
            if rank[:2] <= outlook.rank(history.times[event]):
                continue
        tried.add(alike)
        attempt = search.attempt_from(event)
        if attempt and (best is None or attempt.rank(optional) < rank):
            best, rank = attempt, attempt.rank(optional)
    return best


def entry_events(history: History, rules: Rules, entries: tuple[int, int]) -> list[int]:
    """Return the places of the events inside [start, end) that may begin an attempt."""
    is_entry = -1 if rules.mode is OrderMode.UNORDERED else 1  # every step begins an unordered one
    return [
        event
        for event, (time, steps) in enumerate(zip(history.times, history.steps, strict=True))
        if entries[0] <= time < entries[1] and steps & is_entry
    ]


class Search:
    """The search through one person's events; `proceed` as in best_attempt."""

    def __init__(self, history: History, rules: Rules, proceed: Callable[[], None]) -> None:
        self.history = history
        self.rules = rules
        self.proceed = proceed
        self.possible: Rank = possible_rank(history.steps, rules)

    def attempt_from(self, event: int) -> Attempt | None:
        """Return the best attempt that begins with one event; None where every such attempt is spoiled."""
        self.proceed()
        return (_unordered if self.rules.mode is OrderMode.UNORDERED else _best_of_entry)(self, event)


@dataclass(frozen=True, slots=True)
class _Way:
    """A way so far: the times of its steps, -1 where skipped; the last filled one is the last of them.

    `may_end`: no event of a next step lies behind it. `is_broken`: in a strict funnel, it goes no further.
    """

    times: tuple[int, ...]
    may_end: bool
    is_broken: bool = False

    @property
    def key(self) -> tuple[int, int, bool, bool]:
        """Return what decides about how it can go on."""
        return len(self.times), self.times.count(-1), self.may_end, self.is_broken

    def attempt(self, steps: int) -> Attempt:
        """Return it as an attempt."""
        times = tuple(None if time < 0 else time for time in self.times)
        return Attempt(times + (None,) * (steps - len(times)))


class _Ways:
    """The ways from one entry; of those that can go on alike, the one with the earliest times."""

    def __init__(self) -> None:
        self._ways: dict[tuple[int, int, bool, bool], _Way] = {}

    def add(self, way: _Way) -> None:
        known = self._ways.get(way.key)
        if known is None or _sooner(way, known):
            self._ways[way.key] = way

    def __iter__(self) -> Iterator[_Way]:
        return iter(self._ways.values())


def _sooner(way: _Way, other: _Way) -> bool:
    def key(times: tuple[int, ...]) -> list[float]:
        return [float("inf") if time < 0 else time for time in times]

    return key(way.times) < key(other.times)


def _best_of_entry(search: Search, entry: int) -> Attempt | None:
    history, rules = search.history, search.rules
    last = _last_times(history, rules, entry) if rules.exclusions else {}
    ways = [_Way((history.times[entry],), may_end=False)]
    for time, events in history.from_entry(entry, rules.window):
        if _are_over(ways, search):
            break
        search.proceed()
        masks = [history.steps[event] for event in events]
        banned = 0
        for event in events:
            banned |= history.bans[event]
        went_on = _Ways()
        for way in ways:
            for each in _go_on(way, rules, time, masks, last):
                if not _is_spoiled(each, rules, time, banned):
                    went_on.add(each)
        ways = list(went_on)
    attempts = [way.attempt(rules.steps) for way in ways if way.may_end or not rules.exclusions]
    return min(attempts, key=lambda attempt: attempt.rank(rules.optional), default=None)


def _last_times(history: History, rules: Rules, entry: int) -> dict[int, int]:
    """Return when the last event of each step was in the window."""
    return {
        step: time
        for time, events in history.from_entry(entry, rules.window)
        for event in events
        for step in range(rules.steps)
        if history.steps[event] >> step & 1
    }


def _are_over(ways: Sequence[_Way], search: Search) -> bool:
    """Tell whether no later event makes the best of the ways another.

    In order and without exclusions, of the ways that fill all that can be filled the one that got there first
    has the earliest times: had another sooner ones up to some step, it could have gone on with the events
    of the first.
    """
    rules = search.rules
    if rules.exclusions:
        return all(len(way.times) == rules.steps for way in ways)
    if rules.mode is OrderMode.ORDERED and rules.optional:
        return any(way.attempt(rules.steps).rank(rules.optional)[:2] <= search.possible for way in ways)
    return all(way.is_broken or len(way.times) == rules.steps for way in ways)


def _go_on(way: _Way, rules: Rules, time: int, masks: Sequence[int], last: dict[int, int]) -> Iterator[_Way]:
    """Yield every way on through the events at one time, the one that fills nothing among them."""
    if way.is_broken:
        yield way
        return
    for filled in _fillings(len(way.times) - 1, rules, masks):
        times = way.times
        for step in filled:
            times += (-1,) * (step - len(times)) + (time,)
        may_end = way.may_end
        if rules.exclusions and (filled or times[-1] == time):  # the entry itself, where nothing is filled
            may_end = not any(
                last.get(step, time) > time or can_fill((*filled, step), masks)
                for step in rules.following(len(times) - 1)
            )
        is_broken = rules.mode is OrderMode.STRICT and _breaks(len(way.times) - 1, filled, masks)
        yield _Way(times, may_end, is_broken)


def _fillings(step: int, rules: Rules, masks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield no steps, and for each that can be the last filled at one time the most steps behind a step.

    Of as many the first ones: sets of steps that different events can fill are a matroid, in which taking
    one after the other gives just that. Fewer are never better, whatever follows.
    """
    yield ()
    options: dict[int, list[int]] = {}
    for last in range(step + 1, rules.steps):
        options[last] = [event for event, mask in enumerate(masks) if mask >> last & 1]
        needed = [each for each in range(step + 1, last) if each not in rules.optional] + [last]
        step_of: dict[int, int] = {}
        if options[last] and all(augment(each, options, step_of) for each in needed):
            more = (each for each in range(step + 1, last) if each in rules.optional)
            yield tuple(sorted(needed + [each for each in more if augment(each, options, step_of)]))
        elif last not in rules.optional:
            return


def _breaks(step: int, filled: tuple[int, ...], masks: Sequence[int]) -> bool:
    """Tell whether an event at this time stands in a strict run: it fills nothing and repeats no step."""
    repeated = 1 << step
    for each in filled:
        repeated |= 1 << each
    return any(not mask & repeated for mask in masks)


def _is_spoiled(way: _Way, rules: Rules, time: int, banned: int) -> bool:
    """Tell whether an exclusion event at this time lies between the two steps of its exclusion."""
    return any(
        banned >> number & 1
        and exclusion.after < len(way.times) <= exclusion.before
        and way.times[exclusion.after] < time
        for number, exclusion in enumerate(rules.exclusions)
    )


def _unordered(search: Search, entry: int) -> Attempt:
    """Return when the person had done one, two … different steps, the first of them by the entry.

    An event is given a step where others can make room: what is filled stays filled, so that the number grows
    with every event that any assignment can use.
    """
    history, rules = search.history, search.rules
    options: dict[int, list[int]] = {}
    event_of: dict[int, int] = {}
    times: list[int | None] = []
    for time, events in chain([(history.times[entry], [entry])], history.from_entry(entry, rules.window)):
        if len(times) == -search.possible[0]:
            break
        search.proceed()
        for event in events:
            options[event] = [step for step in range(rules.steps) if history.steps[event] >> step & 1]
            if augment(event, options, event_of):
                times.append(time)
    return Attempt((*times, *[None] * (rules.steps - len(times))))
