"""Local calendars: which instants a clock hour, a day, a week or a month of a time zone begins at.

Instants are Unix microseconds. A day begins at the first instant that has its date: where clocks skip
midnight, later than 00:00; where a whole day was skipped (Samoa, 2011-12-30), the day does not exist.
"""

from datetime import UTC, date, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

MICROS = 1_000_000
HOUR_MICROS = 3600 * MICROS
DAY_MICROS = 24 * HOUR_MICROS
EPOCH_DAY = date(1970, 1, 1).toordinal()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Interval(Enum):
    """A unit of the calendar."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


# The shortest a unit can be, clocks being put forward.
_LEAST_HOURS = {Interval.HOUR: 0.5, Interval.DAY: 22.0, Interval.WEEK: 166.0, Interval.MONTH: 670.0}


def to_datetime(micros: int, zone: "ZoneInfo") -> datetime:
    """Return the local time of an instant."""
    return to_datetime_utc(micros).astimezone(zone)


def to_datetime_utc(micros: int) -> datetime:
    """Return an instant as an aware datetime."""
    return EPOCH + timedelta(microseconds=micros)


def to_micros(moment: datetime) -> int:
    """Return the instant of an aware datetime, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def day_start(day: date, zone: "ZoneInfo") -> int:
    """Return the first instant of a local day.

    fold=0 takes the offset before a change, which maps a skipped midnight to the change itself and a
    repeated one to its first occurrence.
    """
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=zone))


def local_date(micros: int, zone: "ZoneInfo") -> date:
    """Return the local date of an instant."""
    return to_datetime(micros, zone).date()


def day_number(day: date) -> int:
    """Return days since 1970-01-01."""
    return day.toordinal() - EPOCH_DAY


def day_of_number(number: int) -> date:
    """Return the date of a day number."""
    return date.fromordinal(number + EPOCH_DAY)


def unit_start(day: date, interval: Interval) -> date:
    """Return the first day of the week or month that a day is in; the day itself for days."""
    if interval is Interval.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval is Interval.MONTH else day


def next_unit(day: date, interval: Interval) -> date:
    """Return the first day of the unit after the one that begins on a day."""
    if interval is Interval.MONTH:
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 if interval is Interval.WEEK else 1)


def upper_bound(start: int, end: int, interval: Interval) -> float:
    """Return how many intervals the range can touch at the most, without walking it."""
    return (end - start) / HOUR_MICROS / _LEAST_HOURS[interval] + 2


def buckets(start: int, end: int, interval: Interval, zone: "ZoneInfo") -> list[tuple[int, int]]:
    """Return [start, end) of every whole unit that touches the range, in order."""
    bounds = _hours(start, end, zone) if interval is Interval.HOUR else _days(start, end, interval, zone)
    return [(low, high) for low, high in pairwise(bounds) if low < high and high > start]


def _days(start: int, end: int, interval: Interval, zone: "ZoneInfo") -> "Iterator[int]":
    day = unit_start(local_date(start, zone), interval)
    bound = day_start(day, zone)
    while bound < end:
        yield bound
        day = next_unit(day, interval)
        bound = day_start(day, zone)
    yield bound


def _hours(start: int, end: int, zone: "ZoneInfo") -> "Iterator[int]":
    bound = day_start(local_date(start, zone), zone)  # hours are counted from the day's own beginning
    while bound < end:
        yield bound
        bound = _next_hour(bound, zone)
    yield bound


def _into_hour(micros: int, zone: "ZoneInfo") -> int:
    local = to_datetime(micros, zone)
    return (local.minute * 60 + local.second) * MICROS + local.microsecond


def _next_hour(bound: int, zone: "ZoneInfo") -> int:
    """Return the next instant with a full hour on the clock, or another hour after a half-hour change."""
    hour = to_datetime(bound, zone).hour
    candidate = bound + HOUR_MICROS - _into_hour(bound, zone)
    while _into_hour(candidate, zone) and to_datetime(candidate, zone).hour == hour:
        candidate += HOUR_MICROS - _into_hour(candidate, zone)
    return candidate
