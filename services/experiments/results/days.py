"""Days, weeks and months of a calendar, as half-open ranges of Unix microseconds."""

from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from services.experiments.instants import to_datetime, to_micros

MAXIMUM_DAYS = 120


def day_ends(start: int, end: int, zone: ZoneInfo) -> list[int]:
    """Return when each local day ended that touches [start, end], the last of them still to end.

    At most the last 120.
    """
    first, last = (to_datetime(each).astimezone(zone).date() for each in (start, end))
    first = max(first, last - timedelta(days=MAXIMUM_DAYS - 1))
    days = (last - first).days + 1
    return [_midnight(first + timedelta(days=each + 1), zone) for each in range(days)]


class Unit(Enum):
    """A calendar unit; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def units(start: int, end: int, unit: Unit, zone: ZoneInfo, maximum: int) -> list[tuple[int, int]] | None:
    """Return the units that begin in [start, end); None where there are more than `maximum`."""
    first = _beginning(to_datetime(start).astimezone(zone).date(), unit)
    found: list[tuple[int, int]] = []
    while True:
        low, following = _midnight(first, zone), _next(first, unit)
        if low >= end:
            return found
        if len(found) == maximum:
            return None
        if low >= start:
            found.append((low, _midnight(following, zone)))
        first = following


def _beginning(day: date, unit: Unit) -> date:
    if unit is Unit.MONTH:
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if unit is Unit.WEEK else day


def _next(day: date, unit: Unit) -> date:
    if unit is Unit.MONTH:
        return (day + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=7 if unit is Unit.WEEK else 1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    # Where clocks skip midnight, the day begins when they go on: that instant as either side sees it.
    return to_micros(datetime.combine(day, time(0), zone).astimezone(UTC))
