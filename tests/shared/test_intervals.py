"""Series and ranges as requests ask for them."""

from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, INTERVAL_MONTH, INTERVAL_WEEK, TimeRange
from brain.metrics.v1.metrics_pb2 import MetricQuery

from shared.calendar import Interval
from shared.errors import InvalidArgument
from shared.intervals import Series, series_of
from shared.timestamps import from_micros
from shared.validation import Violations

DAY = 86_400_000_000
MIDNIGHT = 1_321_056_000_000_000  # 2011-11-12, a Saturday


def series(interval: int, start: int, end: int, zone: str = "UTC", maximum: int = 99) -> Series:
    violations = Violations()
    time_range = TimeRange(start_time=from_micros(start), end_time=from_micros(end))
    query = MetricQuery(name="any", interval=interval, time_range=time_range, time_zone=zone)  # type: ignore[arg-type]  # any number
    allowed = (Interval.DAY, Interval.WEEK, Interval.MONTH)
    found = series_of(violations, query, allowed, ZoneInfo("UTC"), maximum)
    violations.raise_if_any()
    return found


def test_a_series_has_the_units_that_begin_in_its_range() -> None:
    months = series(INTERVAL_MONTH, MIDNIGHT - 11 * DAY, MIDNIGHT + 80 * DAY).units
    assert [(high - low) // DAY for low, high in months] == [30, 31, 31]
    weeks = series(INTERVAL_WEEK, MIDNIGHT, MIDNIGHT + 15 * DAY).units
    assert [(low - MIDNIGHT) // DAY for low, _ in weeks] == [2, 9]


def test_days_are_as_long_as_their_zone_has_them() -> None:
    # Clocks go back half an hour on 2012-04-01.
    found = series(INTERVAL_DAY, 1_333_000_000_000_000, 1_334_000_000_000_000, "Australia/Lord_Howe")
    assert {(high - low) / 3_600_000_000 for low, high in found.units} == {24.0, 24.5}


@pytest.mark.parametrize(
    ("interval", "start", "days", "reason"),
    [
        (INTERVAL_DAY, MIDNIGHT, 100, "is too wide: at most 99 points of one day"),
        (INTERVAL_DAY, MIDNIGHT, 10_000, "is too wide: at most 99 points of one day"),
        (INTERVAL_DAY, -DAY, 2, "must lie between 1970 and 2100"),
        (INTERVAL_HOUR, MIDNIGHT, 1, "any is read by day, week, month"),
        (77, MIDNIGHT, 1, "has no meaning for the value 77"),
        (0, MIDNIGHT, 1, "is required"),
    ],
)
def test_what_cannot_be_read_is_said(interval: int, start: int, days: int, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        series(interval, start, start + days * DAY)
    assert [violation.reason for violation in refused.value.violations] == [reason]
