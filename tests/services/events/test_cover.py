"""Covers of ranges against sets of quarter-hours: every offset in use is a multiple of fifteen minutes."""

from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.rollups.cover import Cover, ReportingCalendar, cover

QUARTER = 15 * 60_000_000
HOUR = 4 * QUARTER

# First quarter-hour of 20 days around what is odd about the zone.
PERIODS = {
    "UTC": datetime(2011, 12, 20, tzinfo=UTC),
    "Europe/London": datetime(2011, 10, 20, tzinfo=UTC),
    "Asia/Kolkata": datetime(2011, 10, 20, tzinfo=UTC),
    "Asia/Kathmandu": datetime(2011, 12, 20, tzinfo=UTC),
    "America/Sao_Paulo": datetime(2017, 10, 5, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2011, 9, 22, tzinfo=UTC),
    "Pacific/Apia": datetime(2011, 12, 20, tzinfo=UTC),
}
LENGTH = 20 * 96
zones = pytest.mark.parametrize("zone", PERIODS)


@cache
def calendar(zone: str) -> ReportingCalendar:
    return ReportingCalendar(ZoneInfo(zone))


def first_quarter(zone: str) -> int:
    return int(PERIODS[zone].timestamp()) // 900


@cache
def days_by_quarter(zone: str) -> dict[int, int]:
    """The day number of each quarter-hour of the period and a day around it, by the clock on the wall."""
    first = first_quarter(zone)
    local = ZoneInfo(zone)
    return {
        quarter: (datetime.fromtimestamp(quarter * 900, local).date() - date(1970, 1, 1)).days
        for quarter in range(first - 200, first + LENGTH + 200)
    }


def parts(found: Cover, zone: str) -> tuple[list[int], list[int], list[int]]:
    """The quarter-hours of a cover, from days, from hours and from raw events."""
    first_day, last_day = found.days or (0, 0)
    days = [quarter for quarter, day in days_by_quarter(zone).items() if first_day <= day < last_day]
    hours = [quarter for low, high in found.hours for quarter in range(low * 4, high * 4)]
    raw = [quarter for low, high in found.raw for quarter in range(low // QUARTER, high // QUARTER)]
    return days, hours, raw


@zones
@given(data=st.data())
def test_parts_are_disjoint_and_make_up_the_range(zone: str, data: st.DataObject) -> None:
    first = first_quarter(zone)
    start = first + data.draw(st.integers(0, LENGTH - 1), "start")
    end = data.draw(
        st.integers(start + 1, min(start + 12, first + LENGTH)) | st.integers(start + 1, first + LENGTH)
    )
    days, hours, raw = parts(cover(start * QUARTER, end * QUARTER, calendar(zone)), zone)
    assert sorted(days + hours + raw) == list(range(start, end))


@zones
@given(data=st.data())
def test_the_largest_parts_that_fit_are_used(zone: str, data: st.DataObject) -> None:
    first, day_of = first_quarter(zone), days_by_quarter(zone)
    start = first + data.draw(st.integers(0, LENGTH - 1), "start")
    end = data.draw(st.integers(start + 1, first + LENGTH), "end")
    days, hours, raw = parts(cover(start * QUARTER, end * QUARTER, calendar(zone)), zone)
    split = {day_of[start - 1], day_of[end]}  # days that begin before the range or end after it
    whole = {
        quarter
        for quarter in range(start, end)
        if (day_of[quarter] not in split)
        or (day_of[quarter] == day_of[end] and day_of[end] != day_of[end - 1])
    }
    assert set(days) == whole
    left = set(range(start, end)) - whole
    assert set(hours) == {q for q in left if all(q // 4 * 4 + part in left for part in range(4))}
    assert set(raw) == left - set(hours)


@zones
@given(data=st.data())
def test_a_range_of_any_microseconds_is_tiled_without_a_gap(zone: str, data: st.DataObject) -> None:
    low = first_quarter(zone) * QUARTER
    start = low + data.draw(st.integers(0, LENGTH * QUARTER), "start")
    end = start + 1 + data.draw(st.integers(0, HOUR) | st.integers(0, LENGTH * QUARTER), "width")
    found = cover(start, end, calendar(zone))
    pieces = [(low * HOUR, high * HOUR) for low, high in found.hours] + list(found.raw)
    if found.days:
        starts = [
            int(datetime.fromordinal(day + 719_163).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000
            for day in found.days
        ]
        pieces.append((starts[0], starts[1]))
    edges = [edge for piece in sorted(pieces) for edge in piece]
    assert (edges[0], edges[-1]) == (start, end)
    assert edges[1:-1:2] == edges[2::2]
    assert all(low < high for low, high in pieces)
    assert all(high - low < HOUR for low, high in found.raw)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/London"])
def test_a_month_of_the_reporting_zone_is_days_alone(zone: str) -> None:
    start, end = (datetime(2011, month, 1, tzinfo=ZoneInfo(zone)).timestamp() for month in (10, 11))
    found = cover(int(start) * 1_000_000, int(end) * 1_000_000, calendar(zone))
    october = (date(2011, 10, 1) - date(1970, 1, 1)).days
    assert found == Cover((october, october + 31), (), ())


def test_a_day_of_another_zone_is_hours_and_slivers() -> None:
    start, end = (datetime(2011, 11, day, tzinfo=ZoneInfo("Asia/Kolkata")).timestamp() for day in (10, 11))
    found = cover(int(start) * 1_000_000, int(end) * 1_000_000, calendar("UTC"))
    assert found.days is None
    assert [high - low for low, high in found.hours] == [23]
    assert [high - low for low, high in found.raw] == [HOUR // 2, HOUR // 2]


@zones
@given(data=st.data())
def test_the_reporting_day_is_the_date_on_the_wall(zone: str, data: st.DataObject) -> None:
    start = int(PERIODS[zone].timestamp()) * 1_000_000
    near = st.integers(start, start + LENGTH * QUARTER)
    ever = st.integers(946_684_800_000_000, 4_102_444_800_000_000)  # 2000 to 2100
    times = data.draw(st.lists(near | ever, max_size=30))
    expected = [
        (datetime.fromtimestamp(time // 1_000_000, ZoneInfo(zone)).date() - date(1970, 1, 1)).days
        for time in times
    ]
    assert calendar(zone).days_of(np.array(times, np.int64)).tolist() == expected


@zones
def test_ranges_beyond_all_events_are_covered_too(zone: str) -> None:
    year_3, year_9000 = -62_072_000_000_000_000, 221_845_392_000_000_000
    found = cover(year_3, year_9000, calendar(zone))
    assert found.days is not None
    assert found.days[0] <= (date(2000, 1, 1) - date(1970, 1, 1)).days
    assert found.days[1] >= (date(2100, 12, 31) - date(1970, 1, 1)).days
    assert found.hours[0][0] == -(-year_3 // HOUR)
    assert found.hours[-1][1] == year_9000 // HOUR
