"""Days of a calendar, as half-open ranges of Unix microseconds."""

from datetime import UTC, date, datetime, time, timedelta
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
    return [_midnight_after(first + timedelta(days=each), zone) for each in range(days)]


def _midnight_after(day: date, zone: ZoneInfo) -> int:
    # Where clocks skip midnight, the day begins when they go on: that instant as either side sees it.
    midnight = datetime.combine(day + timedelta(days=1), time(0), zone)
    return to_micros(midnight.astimezone(UTC))
