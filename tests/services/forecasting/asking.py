"""Short ways to ask."""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2
from brain.forecasting.v1 import forecasts_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service as EventsService

DAY = 86_400_000_000
TODAY = 1_321_056_000_000_000  # 2011-11-12, a Saturday
DAILY = common_pb2.INTERVAL_DAY
_numbers = itertools.count()


def stamp(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made


def points(values: Iterable[float], first: int = TODAY, step: int = DAY) -> list[pb.SeriesPoint]:
    """Points from `first` on; NaN is a point without a value."""
    return [
        pb.SeriesPoint(start_time=stamp(first + at * step), value=None if math.isnan(value) else value)
        for at, value in enumerate(values)
    ]


def event(
    name: str, who: str, micros: int, value: float | None = None, category: str = ""
) -> events_pb2.Event:
    return events_pb2.Event(
        event_id=f"e-{next(_numbers)}",
        user_id=who,
        session_id="s",
        event=name,
        category=category,
        event_time=stamp(micros),
        value=value,
    )


def track(events: EventsService, tracked: Sequence[events_pb2.Event]) -> None:
    for at in range(0, len(tracked), 5_000):
        request = events_pb2.TrackEventsRequest(events=tracked[at : at + 5_000])
        assert not events.events.TrackEvents(request).rejections


def weekly(days: int) -> list[int]:
    """Counts with a week and nothing else, the last of them yesterday's."""
    return [(10, 12, 14, 20, 13, 4, 6)[at % 7] for at in range(days)]


def sell(events: EventsService, counts: Sequence[int], until: int = TODAY) -> None:
    """Track sales of 2.50 each, so many on each of the days before `until`."""
    first = until - len(counts) * DAY
    track(
        events,
        [
            event("sold", f"u-{number % 5}", first + at * DAY + number * 60_000_000, 2.5, category="revenue")
            for at, count in enumerate(counts)
            for number in range(count)
        ],
    )


def shopping(seed: int = 3, customers: int = 60, days: int = 200) -> list[tuple[str, int, float]]:
    """(who, day before today, amount): people who buy now and then, some of whom stay away."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(customers):
        day, rate = float(generator.integers(0, days)), generator.gamma(1.0, 1 / 15)
        while day < days:
            found.append((f"c-{number}", int(days - day), float(np.round(generator.gamma(4, 5) + 1, 2))))
            if generator.random() < 0.15:
                break
            day += 1 + generator.exponential(1 / rate)
    return [(who, max(1, before), amount) for who, before, amount in found]
