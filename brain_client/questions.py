"""Turns the words people use (day, property:country, 2011-12-09) into requests."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from brain.common.v1.common_pb2 import Interval, PropertyFilter, PropertyOperator, TimeRange
from brain.events.v1.events_pb2 import ActivePeriod, CountGroup
from google.protobuf.struct_pb2 import Value

from brain_client.event import timestamp

INTERVALS = {
    "hour": Interval.INTERVAL_HOUR,
    "day": Interval.INTERVAL_DAY,
    "week": Interval.INTERVAL_WEEK,
    "month": Interval.INTERVAL_MONTH,
}
PERIODS = {
    "day": ActivePeriod.ACTIVE_PERIOD_DAY,
    "week": ActivePeriod.ACTIVE_PERIOD_WEEK,
    "month": ActivePeriod.ACTIVE_PERIOD_MONTH,
}
_GROUPS = {
    "": CountGroup.COUNT_GROUP_UNSPECIFIED,
    "event": CountGroup.COUNT_GROUP_EVENT,
    "category": CountGroup.COUNT_GROUP_CATEGORY,
    "user": CountGroup.COUNT_GROUP_USER,
}
_PROPERTY = "property:"


def time_range(start: datetime, end: datetime) -> TimeRange:
    """Return [start, end). Raises ValueError where one has no offset."""
    return TimeRange(start_time=timestamp(start), end_time=timestamp(end))


def interval(word: str) -> Interval.ValueType:
    """Return the interval called hour, day, week or month; "" is none. Raises ValueError otherwise."""
    if not word:
        return Interval.INTERVAL_UNSPECIFIED
    return INTERVALS[_known(word, INTERVALS, "interval")]


def period(word: str) -> ActivePeriod.ValueType:
    """Return the period called day, week or month. Raises ValueError otherwise."""
    return PERIODS[_known(word, PERIODS, "period")]


def count_group(word: str) -> tuple[CountGroup.ValueType, str]:
    """Return the dimension called "", event, category, user or property:NAME, and the NAME."""
    if word.startswith(_PROPERTY):
        return CountGroup.COUNT_GROUP_PROPERTY, word.removeprefix(_PROPERTY)
    return _GROUPS[_known(word, [*_GROUPS, f"{_PROPERTY}NAME"], "group")], ""


def equals(properties: Mapping[str, str | float | bool]) -> list[PropertyFilter]:
    """Return the conditions that each property equals its value. Typed: 6 is not "6"."""
    return [
        PropertyFilter(
            property=name, operator=PropertyOperator.PROPERTY_OPERATOR_EQUALS, values=[_value(value)]
        )
        for name, value in properties.items()
    ]


def _value(value: str | float | bool) -> Value:  # noqa: FBT001 — data, not a switch
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    return Value(number_value=value)


def _known(word: str, words: Mapping[str, object] | Sequence[str], what: str) -> str:
    if word not in words:
        raise ValueError(f"{what} must be one of {', '.join(filter(None, words))}, not {word!r}")
    return word
