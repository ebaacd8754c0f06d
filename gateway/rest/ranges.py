"""The range of time that several questions are about."""

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from brain.common.v1.common_pb2 import TimeRange

from gateway.rest.operations import Asked
from gateway.rest.parameters import instant, text
from gateway.rest.reading import stamp
from shared import validation
from shared.errors import FieldViolation, InvalidArgument
from shared.validation import Violations

_DEFAULT_DAYS = 30

START: Final = instant("startTime", f"First instant inside. Default: {_DEFAULT_DAYS} days before endTime.")
END: Final = instant("endTime", "First instant after. Default: now.")
TIME_ZONE: Final = text("timeZone", "IANA name of the calendar. Default: the deployment's reporting zone.")


def asked_range(asked: Asked) -> TimeRange:
    """Return the range asked for."""
    end = asked.given.one(END, asked.now)
    start = asked.given.maybe(START)
    try:
        start = start or end - timedelta(days=_DEFAULT_DAYS)
    except OverflowError:  # the first days of the year 1, which the service refuses by name
        start = end
    return TimeRange(start_time=stamp(start), end_time=stamp(end))


def is_given(asked: Asked) -> bool:
    """Return whether the request names a range."""
    return asked.given.maybe(START) is not None or asked.given.maybe(END) is not None


def refuse_range(asked: Asked, instead: str) -> None:
    """Raise InvalidArgument where a range is given beside what stands for one."""
    if is_given(asked):
        raise InvalidArgument([FieldViolation(instead, "stands for startTime and endTime: give only one")])


def asked_zone(asked: Asked) -> ZoneInfo:
    """Return the calendar of days: the one asked for, or the deployment's; raise InvalidArgument."""
    violations = Violations()
    zone = validation.time_zone(violations, TIME_ZONE.name, asked.given.one(TIME_ZONE, ""), asked.zone)
    violations.raise_if_any()
    return zone


def noon(day: date, zone: ZoneInfo) -> datetime:
    """Return an instant of a local day; a midnight may not exist, or twice."""
    return datetime.combine(day, time(12), zone)


def beginning_of(period: str, local: datetime) -> datetime:
    """Return where the hour, day, week or month (`hourly` …) of a local time begins."""
    hour = local.replace(minute=0, second=0, microsecond=0)
    if period == "hourly":
        return hour
    days_back = {"weekly": local.weekday(), "monthly": local.day - 1}.get(period, 0)
    return datetime.combine(local.date() - timedelta(days=days_back), time.min, local.tzinfo)
