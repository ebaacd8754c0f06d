"""The range of time that several questions are about."""

from datetime import timedelta
from typing import Final

from brain.common.v1.common_pb2 import TimeRange

from gateway.rest.operations import Asked
from gateway.rest.parameters import instant, text
from gateway.rest.reading import stamp

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
