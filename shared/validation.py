"""Checks of request fields that collect every violation before they refuse.

Each check returns a harmless value after it has added a violation, so that the next check can run.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Protocol, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from brain.common.v1.common_pb2 import TimeRange
from google.protobuf.timestamp_pb2 import Timestamp

from shared.errors import FieldViolation, InvalidArgument
from shared.timestamps import to_micros

T = TypeVar("T")

# Longer lists of violations help nobody and cost memory.
_KEPT_VIOLATIONS = 1_000


class HasTimeRange(Protocol):
    """A request with a field `time_range`."""

    @property
    def time_range(self) -> TimeRange:
        """Return the range, empty where it is absent."""

    def HasField(self, field_name: Literal["time_range"], /) -> bool:  # noqa: N802 - protobuf's name
        """Return whether the field is present."""


class Violations:
    """Collects what is wrong with a request, to refuse it once."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, reason: str) -> None:
        """Remember that the field at this path is wrong."""
        if len(self._found) < _KEPT_VIOLATIONS:
            self._found.append(FieldViolation(field, reason))

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self, prefix: str = "") -> None:
        """Raise InvalidArgument with everything found, its fields behind a prefix."""
        if self._found:
            found = [FieldViolation(f"{prefix}{each.field}", each.reason) for each in self._found]
            raise InvalidArgument(found)


def required_range(violations: Violations, field: str, message: HasTimeRange) -> tuple[int, int]:
    """Return [start, end) of `message.time_range` in Unix microseconds, (0, 0) where it is at fault.

    `field` is the path of the range, as violations name it.
    """
    if not message.HasField("time_range"):
        violations.add(field, "is required")
        return 0, 0
    return _checked_range(violations, field, message.time_range)


def optional_range(violations: Violations, field: str, message: HasTimeRange) -> tuple[int, int] | None:
    """Return None where `message.time_range` is absent, else what `required_range` returns."""
    if not message.HasField("time_range"):
        return None
    return _checked_range(violations, field, message.time_range)


def _checked_range(violations: Violations, field: str, time_range: TimeRange) -> tuple[int, int]:
    start_field, end_field = f"{field}.start_time", f"{field}.end_time"
    start = end = None
    if time_range.HasField("start_time"):
        start = instant(violations, start_field, time_range.start_time)
    else:
        violations.add(start_field, "is required")
    if time_range.HasField("end_time"):
        end = instant(violations, end_field, time_range.end_time)
    else:
        violations.add(end_field, "is required")
    if start is None or end is None:
        return 0, 0
    if start >= end:
        violations.add(end_field, "must be later than start_time")
        return 0, 0
    return start, end


def instant(violations: Violations, field: str, stamp: Timestamp) -> int | None:
    """Return Unix microseconds; None after a violation for one outside the years 1 to 9999."""
    micros = to_micros(stamp)
    if micros is None:
        violations.add(field, "is not a valid timestamp: years 1 to 9999, nanos 0 to 999999999")
    return micros


def chosen(violations: Violations, field: str, number: int, choices: Mapping[Any, T]) -> T:
    """Return what an enum's number stands for; unspecified and unknown numbers are violations."""
    if number not in choices:
        violations.add(field, "is required" if number == 0 else f"has no meaning for the value {number}")
    return choices.get(number, next(iter(choices.values())))


def time_zone(violations: Violations, field: str, name: str, default: ZoneInfo) -> ZoneInfo:
    """Return the IANA zone of this name; `default` for an empty one, and after a violation."""
    if not name:
        return default
    if name not in _zone_names():
        violations.add(field, "is not a known IANA time zone")
        return default
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    # Looked up in a set because ZoneInfo takes the name as a path and answers some with OSError.
    return frozenset(available_timezones())


def page_size(violations: Violations, field: str, asked: int, *, default: int, maximum: int) -> int:
    """Return the size asked for; `default` for 0, and after a violation."""
    if asked == 0:
        return default
    if not 0 < asked <= maximum:
        violations.add(field, f"must be 1 to {maximum}, or 0 for {default}")
        return default
    return asked


def text(violations: Violations, field: str, value: str, *, maximum: int, required: bool = True) -> str:
    """Return `value` once it has 1 (or 0, unless required) to `maximum` characters and no NUL."""
    if required and not value:
        violations.add(field, "is required")
    elif len(value) > maximum:
        violations.add(field, f"must be at most {maximum} characters, is {len(value)}")
    elif "\0" in value:
        violations.add(field, "must not contain NUL")
    else:
        return value
    return ""
