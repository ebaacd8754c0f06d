"""Random histories in a running service, and what a search over them expects of an answer."""

import json
import random
from collections.abc import Callable, Sequence

import pytest
from brain.events.v1 import conversion_pb2 as pb

from tests.services.events.conftest import Service
from tests.services.events.conversion.asking import MICROS, event, micros
from tests.services.events.conversion.attempts import Happened, Outcome, rate
from tests.services.events.scans import track

HOUR = 3_600 * MICROS
DAY = 24 * HOUR
# New Year; clocks change on Lord Howe Island on 2011-04-03 and in London on 2011-03-27.
SPANS = {
    "new year": (micros(2010, 12, 27), micros(2011, 1, 10)),
    "clocks change": (micros(2011, 3, 25, 5, 17), micros(2011, 4, 6, 3, 1)),
}
PLANS = (None, "free", "pro", 7)
Row = tuple[int, str, str, int, object]  # number, who, event, µs, plan


def rows(first: int, last: int, count: int = 1_500) -> list[Row]:
    """Events of 20 users, 3 devices and 3 sessions, many at the same or at neighbouring times."""
    chance = random.Random(first)
    people = [f"user-{n}" for n in range(20)] + [
        f"{kind}-{n}" for kind in ("device", "session") for n in range(3)
    ]
    moments = [chance.randrange(first, last, HOUR // 2) for _ in range(40)]
    return [
        (
            number,
            chance.choice(people),
            chance.choice(("seen", "bought")),
            chance.choice(moments) + chance.choice((0, 0, -1, 1, 60 * MICROS, 61 * MICROS)),
            chance.choice(PLANS),
        )
        for number in range(count)
    ]


def stored(service: Service, events: Sequence[Row]) -> None:
    track(
        service,
        [
            event(number, who, name, time, "" if plan is None else json.dumps({"plan": plan}))
            for number, who, name, time, plan in events
        ],
    )


def histories(
    events: Sequence[Row], is_start: Callable[[Row], bool], is_end: Callable[[Row], bool]
) -> list[Happened]:
    people = {who: number for number, who in enumerate(sorted({row[1] for row in events}))}
    return [
        Happened(
            row[0],
            people[row[1]],
            row[3],
            is_start(row),
            is_end(row),
            None if row[4] is None else json.dumps(row[4]),
        )
        for row in events
    ]


def named(name: str, holds: Callable[[object], bool] = lambda _: True) -> Callable[[Row], bool]:
    return lambda row: row[2] == name and holds(row[4])


def check(actual: pb.ConversionRate, expected: Sequence[Outcome]) -> None:
    starters, converters, open_entries, median, mean = rate(expected)
    assert (actual.starters, actual.converters, actual.open_entries) == (starters, converters, open_entries)
    assert actual.HasField("conversion_ratio") == bool(starters)
    if starters:
        assert actual.conversion_ratio == converters / starters
    assert actual.HasField("median_seconds") == actual.HasField("mean_seconds") == bool(converters)
    if converters:
        assert (actual.median_seconds, actual.mean_seconds) == pytest.approx((median, mean))
    assert actual.absent_reason == ("" if converters else "NO_CONVERTERS" if starters else "NO_STARTERS")
