"""A person's best attempt by trying everything: every choice of events for the steps, as the rules say it.

Slow, and written from the definitions alone: no event order, no groups, no state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, permutations, product

from services.funnels.rules import Attempt, Entry, OrderMode, Rules


@dataclass(frozen=True)
class Happened:
    """An event: its time, the steps it may fill, the exclusions it is an event of."""

    time: int
    steps: frozenset[int] = frozenset()
    bans: frozenset[int] = frozenset()


Choice = dict[int, int]  # which event fills each step


def best(events: Sequence[Happened], rules: Rules, entries: tuple[int, int]) -> Attempt | None:
    if rules.mode is OrderMode.UNORDERED:
        return best_unordered(events, rules, entries)
    choices = [choice for choice in every_choice(events, rules) if in_range(events, choice, entries)]
    if rules.entry is Entry.FIRST and choices:
        first = min(events[choice[0]].time for choice in choices)
        choices = [choice for choice in choices if events[choice[0]].time == first]
    if rules.mode is OrderMode.STRICT:
        choices = [choice for choice in choices if is_strict(events, choice)]
    kept = [
        choice
        for choice in choices
        if not rules.exclusions
        or (not can_be_lengthened(events, choice, rules) and not is_spoiled(events, choice, rules))
    ]
    attempts = [Attempt(times_of(events, choice, rules)) for choice in kept]
    return min(attempts, key=lambda attempt: attempt.rank(rules.optional), default=None)


def in_range(events: Sequence[Happened], choice: Choice, entries: tuple[int, int]) -> bool:
    return entries[0] <= events[choice[0]].time < entries[1]


def every_choice(events: Sequence[Happened], rules: Rules) -> Iterator[Choice]:
    """Yield every way to fill steps 0 … k, optional ones or not, by different events in time and window."""
    for last in range(rules.steps):
        required = [step for step in range(last) if step not in rules.optional]
        free = [step for step in range(last) if step in rules.optional]
        for taken in product([False, True], repeat=len(free)):
            steps = sorted(
                [*required, *(step for step, is_in in zip(free, taken, strict=True) if is_in), last]
            )
            for chosen in permutations(range(len(events)), len(steps)):
                choice = dict(zip(steps, chosen, strict=True))
                if is_attempt(events, choice, rules):
                    yield choice


def is_attempt(events: Sequence[Happened], choice: Choice, rules: Rules) -> bool:
    times = [events[choice[step]].time for step in sorted(choice)]
    return (
        all(step in events[event].steps for step, event in choice.items())
        and times == sorted(times)
        and times[-1] - times[0] <= rules.window
    )


def can_be_lengthened(events: Sequence[Happened], choice: Choice, rules: Rules) -> bool:
    last = max(choice)
    following = []
    for step in range(last + 1, rules.steps):
        following.append(step)
        if step not in rules.optional:
            break
    unused = set(range(len(events))) - set(choice.values())
    longer = ({**choice, step: event} for step in following for event in unused)
    if any(is_attempt(events, each, rules) for each in longer):
        return True
    # The same times, other events for them: which event of a time fills which step does not matter.
    times = times_of(events, choice, rules)
    return any(
        times_of(events, other, rules)[: last + 1] == times[: last + 1]
        for step in following
        for other in every_choice_of(events, [*sorted(choice), step], rules)
    )


def every_choice_of(events: Sequence[Happened], steps: Sequence[int], rules: Rules) -> Iterator[Choice]:
    for chosen in permutations(range(len(events)), len(steps)):
        choice = dict(zip(steps, chosen, strict=True))
        if is_attempt(events, choice, rules):
            yield choice


def is_spoiled(events: Sequence[Happened], choice: Choice, rules: Rules) -> bool:
    for number, exclusion in enumerate(rules.exclusions):
        if exclusion.after not in choice:
            continue
        start = events[choice[exclusion.after]].time
        if exclusion.before in choice:
            end = events[choice[exclusion.before]].time
        else:
            end = events[choice[0]].time + rules.window + 1
        if any(number in event.bans and start < event.time < end for event in events):
            return True
    return False


def is_strict(events: Sequence[Happened], choice: Choice) -> bool:
    """Tell whether the events between the first and the last of a choice can be put into a strict order.

    Events at one time may stand in any order, those of steps before those of none.
    """
    steps = sorted(choice)
    used = set(choice.values())
    for before, after in pairwise(steps):
        start, end = events[choice[before]].time, events[choice[after]].time
        if any(
            start < event.time < end and not event.steps & {before}
            for number, event in enumerate(events)
            if number not in used
        ):
            return False
    # At the time of a fill, an event that fills nothing must repeat the step before it, or one filled then.
    for time in {events[event].time for event in used}:
        here = [step for step in steps if events[choice[step]].time == time]
        ends_here = here[-1] == steps[-1]
        earlier = [step for step in steps if step < here[0]]
        repeated = {*here, *earlier[-1:]}
        others = [event for number, event in enumerate(events) if number not in used and event.time == time]
        if not ends_here and any(not event.steps & repeated for event in others):
            return False
    return True


def times_of(events: Sequence[Happened], choice: Choice, rules: Rules) -> tuple[int | None, ...]:
    return tuple(events[choice[step]].time if step in choice else None for step in range(rules.steps))


def best_unordered(events: Sequence[Happened], rules: Rules, entries: tuple[int, int]) -> Attempt | None:
    """The most different steps inside one window; then the earliest beginning."""
    begun = sorted(event.time for event in events if event.steps and entries[0] <= event.time < entries[1])
    if rules.entry is Entry.FIRST:
        begun = begun[:1]
    attempts = [unordered_times(events, rules, start) for start in begun]
    return min(
        (Attempt(times) for times in attempts), key=lambda each: each.rank(rules.optional), default=None
    )


def unordered_times(events: Sequence[Happened], rules: Rules, start: int) -> tuple[int | None, ...]:
    """For each number of steps, the earliest end of a stretch from `start` that holds so many."""
    inside = [event for event in events if start <= event.time <= start + rules.window and event.steps]
    times: list[int | None] = []
    for number in range(1, rules.steps + 1):
        ends = [
            max(event.time for event in chosen)
            for chosen in combinations(inside, number)
            if can_be_told_apart(chosen, rules)
        ]
        times.append(min(ends, default=None))
    return tuple(times)


def can_be_told_apart(chosen: Sequence[Happened], rules: Rules) -> bool:
    return any(
        all(step in event.steps for step, event in zip(steps, chosen, strict=True))
        for steps in permutations(range(rules.steps), len(chosen))
    )
