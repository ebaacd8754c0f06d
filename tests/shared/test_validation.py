from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1.events_pb2 import QueryEventsRequest
from google.protobuf.timestamp_pb2 import Timestamp

from shared import validation
from shared.errors import InvalidArgument
from shared.validation import Violations

UTC = ZoneInfo("UTC")


def told(violations: Violations) -> dict[str, str]:
    try:
        violations.raise_if_any()
    except InvalidArgument as error:
        return {violation.field: violation.reason for violation in error.violations}
    return {}


def ranged(start: int | None, end: int | None) -> QueryEventsRequest:
    time_range = TimeRange()
    if start is not None:
        time_range.start_time.CopyFrom(Timestamp(seconds=start))
    if end is not None:
        time_range.end_time.CopyFrom(Timestamp(seconds=end))
    return QueryEventsRequest(time_range=time_range)


def test_a_range_is_in_microseconds() -> None:
    violations = Violations()
    assert validation.required_range(violations, "time_range", ranged(1, 2)) == (1_000_000, 2_000_000)
    assert told(violations) == {}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (QueryEventsRequest(), {"q.time_range"}),
        (ranged(None, None), {"q.time_range.start_time", "q.time_range.end_time"}),
        (ranged(1, None), {"q.time_range.end_time"}),
        (ranged(2, 2), {"q.time_range.end_time"}),
        (ranged(3, 2), {"q.time_range.end_time"}),
        (ranged(10**12, -(10**12)), {"q.time_range.start_time", "q.time_range.end_time"}),
    ],
)
def test_every_fault_of_a_range_is_named(request_: QueryEventsRequest, fields: set[str]) -> None:
    violations = Violations()
    assert validation.required_range(violations, "q.time_range", request_) == (0, 0)
    assert set(told(violations)) == fields


def test_an_optional_range_may_be_absent_but_not_wrong() -> None:
    violations = Violations()
    assert validation.optional_range(violations, "time_range", QueryEventsRequest()) is None
    assert len(violations) == 0
    assert validation.optional_range(violations, "time_range", ranged(3, 2)) == (0, 0)
    assert len(violations) == 1


def test_an_empty_time_zone_is_the_default() -> None:
    violations = Violations()
    assert validation.time_zone(violations, "time_zone", "", UTC) is UTC
    assert validation.time_zone(violations, "time_zone", "Asia/Kolkata", UTC) == ZoneInfo("Asia/Kolkata")
    assert told(violations) == {}


@pytest.mark.parametrize(
    "name",
    [
        "Mars/Olympus",
        "Europe",
        "../../etc/passwd",
        "/etc/localtime",
        "UTC\0",
        "europe/london",
        "x" * 10**6,
        "\n",
    ],
)
def test_what_is_no_time_zone_is_a_violation(name: str) -> None:
    violations = Violations()
    assert validation.time_zone(violations, "time_zone", name, UTC) is UTC
    assert told(violations) == {"time_zone": "is not a known IANA time zone"}


@pytest.mark.parametrize(
    ("asked", "size", "fault"),
    [(0, 100, False), (1, 1, False), (1_000, 1_000, False), (1_001, 100, True), (-1, 100, True)],
)
def test_a_page_size_is_default_or_within_limits(asked: int, size: int, fault: bool) -> None:  # noqa: FBT001 - a table
    violations = Violations()
    assert validation.page_size(violations, "page_size", asked, default=100, maximum=1_000) == size
    assert bool(told(violations)) == fault


def test_a_text_is_counted_in_characters() -> None:
    violations = Violations()
    assert validation.text(violations, "name", "ééé", maximum=3) == "ééé"
    assert validation.text(violations, "note", "", maximum=3, required=False) == ""
    assert told(violations) == {}


def test_all_violations_are_raised_at_once() -> None:
    violations = Violations()
    validation.text(violations, "a", "", maximum=3)
    validation.text(violations, "b", "four", maximum=3)
    validation.text(violations, "c", "x\0y", maximum=3)
    assert told(violations) == {
        "a": "is required",
        "b": "must be at most 3 characters, is 4",
        "c": "must not contain NUL",
    }
