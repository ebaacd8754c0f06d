"""The funnel rule with two steps, searched exhaustively: the oracle of the conversion tests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median


@dataclass(frozen=True)
class Happened:
    """An event: who, when (µs), and which steps it matches; a value to group by; two events never equal."""

    number: int
    who: int
    time: int
    is_start: bool
    is_end: bool
    value: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What the attempt that counts says of somebody."""

    delay: int | None
    value: str | None
    is_open: bool


def outcomes(
    events: Iterable[Happened],
    bucket: tuple[int, int],
    window: int | None,
    now: int,
    *,
    first_only: bool = False,
) -> dict[int, Outcome]:
    """Return the outcome of everybody who starts in a bucket."""
    found = {}
    by_who: dict[int, list[Happened]] = {}
    for event in events:
        by_who.setdefault(event.who, []).append(event)
    for who, theirs in by_who.items():
        starts = [each for each in theirs if each.is_start and bucket[0] <= each.time < bucket[1]]
        if starts:
            found[who] = _outcome(starts, theirs, window, now, first_only=first_only)
    return found


def _outcome(
    starts: list[Happened], theirs: list[Happened], window: int | None, now: int, *, first_only: bool
) -> Outcome:
    if first_only:
        starts = [start for start in starts if start.time == min(each.time for each in starts)]
    attempts = [
        (start.time, end.time)
        for start in starts
        for end in theirs
        if end.is_end
        and end.number != start.number
        and start.time <= end.time
        and (window is None or end.time - start.time <= window)
    ]
    entry, end_time = min(attempts) if attempts else (min(start.time for start in starts), None)
    # Start events at one instant are alike: the least value stands for them, none is the greatest.
    values = [start.value for start in starts if start.time == entry]
    value = min(values, key=lambda value: (value is None, value or ""))
    is_open = window is not None and max(start.time for start in starts) + window >= now
    return Outcome(
        None if end_time is None else end_time - entry, value, is_open=end_time is None and is_open
    )


def rate(found: Sequence[Outcome]) -> tuple[int, int, int, float | None, float | None]:
    """Return starters, converters, open ones, median and mean seconds."""
    seconds = [outcome.delay / 1e6 for outcome in found if outcome.delay is not None]
    return (
        len(found),
        len(seconds),
        sum(outcome.is_open for outcome in found),
        median(seconds) if seconds else None,
        fmean(seconds) if seconds else None,
    )
