"""Every small history: each person did one of three things at each of five moments, and nobody the same.

The moments lie where local days, years and clocks change. What is known of a history here is found person by
person, with Python's own calendar.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from brain.common.v1.common_pb2 import INTERVAL_MONTH, INTERVAL_WEEK, TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns")
MICROSECOND = timedelta(microseconds=1)
# Noon of 31 December in St John's is New Year on Lord Howe Island, five and a half hours before Kolkata's.
NEW_YEAR = (
    datetime(2010, 12, 27, 12, tzinfo=UTC),
    datetime(2010, 12, 31, 13, 10, tzinfo=UTC),
    datetime(2010, 12, 31, 18, 30, tzinfo=UTC),
    datetime(2011, 1, 1, tzinfo=UTC) - MICROSECOND,
    datetime(2011, 1, 3, tzinfo=UTC),
)
# London's Sunday has 25 hours: from the half hour before midnight UTC to the one before the next.
LONG_DAY = (
    datetime(2011, 10, 24, 3, tzinfo=UTC),
    datetime(2011, 10, 29, 23, 30, tzinfo=UTC),
    datetime(2011, 10, 30, 23, 30, tzinfo=UTC),
    datetime(2011, 10, 31, tzinfo=UTC),
    datetime(2011, 11, 1, 2, 30, tzinfo=UTC),
)
# Lord Howe Island's clocks were put forward by half an hour on Sunday the second at two.
HALF_HOUR = (
    datetime(2011, 9, 25, 13, 30, tzinfo=UTC),
    datetime(2011, 10, 1, 13, 30, tzinfo=UTC) - MICROSECOND,
    datetime(2011, 10, 1, 13, 30, tzinfo=UTC),
    datetime(2011, 10, 2, 13, tzinfo=UTC) - MICROSECOND,
    datetime(2011, 10, 2, 13, tzinfo=UTC),
)


@dataclass(frozen=True)
class Happened:
    """One event."""

    time: datetime
    who: str
    event: str


def histories(moments: tuple[datetime, ...]) -> list[Happened]:
    """Return nothing, a start or a return at every moment, in all combinations, a person each."""
    return [
        Happened(moment, f"person-{number}", event)
        for number, events in enumerate(product(("", "start", "back"), repeat=len(moments)))
        for moment, event in zip(moments, events, strict=True)
        if event
    ]


def to_event(number: int, happened: Happened) -> pb.Event:
    event = pb.Event(
        event_id=str(number),
        user_id=happened.who,
        session_id="s",
        event=happened.event,
        properties_json=f'{{"kind": "{happened.event}"}}',
    )
    event.event_time.FromDatetime(happened.time)
    return event


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def days_by_person(events: Iterable[Happened], zone: ZoneInfo, name: str) -> dict[str, set[date]]:
    """Return the local days on which each person did the event; "" is any."""
    result: dict[str, set[date]] = {}
    for each in events:
        if name in {"", each.event}:
            result.setdefault(each.who, set()).add(local_day(each.time, zone))
    return result


def unit_of(day: date, interval: int) -> date:
    """Return the first day of the day, week or month."""
    if interval == INTERVAL_WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == INTERVAL_MONTH else day


def next_unit(first: date, interval: int) -> date:
    day = first
    while unit_of(day, interval) == first:
        day += timedelta(days=1)
    return day


def units(start: date, after: date, interval: int) -> list[tuple[date, date]]:
    """Return [first day, day after) of the whole units that the days touch."""
    result = []
    first = unit_of(start, interval)
    while first < after:
        result.append((first, next_unit(first, interval)))
        first = result[-1][1]
    return result


def span(start: date, after: date, zone: ZoneInfo) -> TimeRange:
    """Return the range of the local days."""
    return TimeRange(start_time=midnight(start, zone), end_time=midnight(after, zone))


def midnight(day: date, zone: ZoneInfo) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))
    return stamp


def day_of(stamp: Timestamp, zone: ZoneInfo) -> date:
    return stamp.ToDatetime(UTC).astimezone(zone).date()
