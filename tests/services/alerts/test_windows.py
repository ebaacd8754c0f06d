"""Windows on the local calendar, against the clock on the wall."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alerts.windows import Grid
from shared.calendar import Interval

SECOND = 1_000_000
HOUR = 3600 * SECOND
# In 2011 Berlin put clocks forward on March 27 and back on October 30; Kathmandu is at +05:45.
zones = st.sampled_from([ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Asia/Kathmandu")])
instants = st.integers(1_293_840_000, 1_325_376_000).map(lambda seconds: seconds * SECOND)  # the year 2011


@given(st.sampled_from(Interval), zones, instants, st.integers(0, 86_400))
def test_windows_follow_one_another_without_gap_or_overlap(
    interval: Interval, zone: ZoneInfo, now: int, grace_seconds: int
) -> None:
    grid = Grid(interval, zone, grace_seconds * SECOND)
    start, end = grid.last_closed(now)
    assert start < end <= now - grid.grace_micros
    close = grid.next_close(now)
    assert close > now
    assert grid.last_closed(close) == (end, close - grid.grace_micros)
    assert grid.last_closed(close - 1) == (start, end)
    assert grid.back(end, 1) == start
    assert grid.back(end, 0) == end


@given(zones, instants, st.integers(1, 60))
def test_so_many_days_back_is_the_same_midnight_of_an_earlier_date(
    zone: ZoneInfo, now: int, days: int
) -> None:
    grid = Grid(Interval.DAY, zone)
    start, _ = grid.last_closed(now)
    before = datetime.fromtimestamp(grid.back(start, days) / SECOND, UTC).astimezone(zone)
    local = datetime.fromtimestamp(start / SECOND, UTC).astimezone(zone)
    assert (before.hour, before.minute) == (local.hour, local.minute) == (0, 0)
    assert before.date() == local.date() - timedelta(days=days)


@pytest.mark.parametrize(("day", "hours"), [("2011-03-27", 23), ("2011-10-30", 25), ("2011-06-01", 24)])
def test_days_are_as_long_as_the_clock_says(day: str, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    after = datetime.fromisoformat(day).replace(tzinfo=zone) + timedelta(days=1)
    start, end = Grid(Interval.DAY, zone).last_closed(int(after.timestamp()) * SECOND)
    assert end - start == hours * HOUR
