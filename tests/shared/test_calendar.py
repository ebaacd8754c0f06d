"""Buckets against a walk that looks at the clock on the wall once a minute."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calendar import (
    Interval,
    buckets,
    day_number,
    day_of_number,
    day_start,
    local_date,
    next_unit,
    to_datetime,
    to_micros,
    unit_start,
    upper_bound,
)

MINUTE = 60_000_000
HOUR = 60 * MINUTE

# (zone, first day): 75 days around what is odd about the zone.
WINDOWS = [
    ("UTC", date(2011, 11, 1)),
    ("UTC", date(2000, 1, 20)),  # a leap day, of a century
    ("Europe/London", date(2011, 3, 1)),
    ("Europe/London", date(2011, 9, 20)),
    ("Asia/Kolkata", date(2011, 11, 20)),
    ("Asia/Kathmandu", date(2011, 11, 20)),
    ("America/Sao_Paulo", date(2017, 9, 20)),  # 2017-10-15 has no midnight
    ("America/Sao_Paulo", date(2018, 1, 20)),  # 2018-02-17 has its last hour twice
    ("Australia/Lord_Howe", date(2011, 2, 20)),  # clocks go back by half an hour
    ("Australia/Lord_Howe", date(2011, 8, 20)),
    ("Pacific/Apia", date(2011, 11, 25)),  # 2011-12-30 does not exist
]
windows = pytest.mark.parametrize("window", WINDOWS, ids=lambda window: f"{window[0]}-{window[1]}")


def micros(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


@cache
def walked(name: str, first: date) -> dict[Interval, list[int]]:
    """The instants at which a unit begins, found by looking at each of 75 · 1440 minutes."""
    zone, bounds = ZoneInfo(name), {interval: list[int]() for interval in Interval}
    start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())
    before = datetime.fromtimestamp(start - 60, zone)
    for second in range(start, start + 75 * 86_400, 60):
        now = datetime.fromtimestamp(second, zone)
        labels = {
            # An hour begins where the clock shows another hour, and where it shows a full one (again).
            Interval.HOUR: now.hour != before.hour or now.minute == 0,
            Interval.DAY: now.date() != before.date(),
            Interval.WEEK: now.isocalendar()[:2] != before.isocalendar()[:2],
            Interval.MONTH: (now.year, now.month) != (before.year, before.month),
        }
        for interval, begins in labels.items():
            if begins:
                bounds[interval].append(second * 1_000_000)
        before = now
    return bounds


@windows
@pytest.mark.parametrize("interval", Interval)
@settings(max_examples=12)
@given(data=st.data())
def test_buckets_are_the_units_a_walk_meets(
    window: tuple[str, date], interval: Interval, data: st.DataObject
) -> None:
    bounds = walked(*window)[interval]
    widest = min(bounds[-1] - bounds[0], 10 * 24 * HOUR if interval is Interval.HOUR else 80 * 24 * HOUR)
    near = st.builds(int.__add__, st.sampled_from(bounds), st.sampled_from([-1, 0, 1, 17 * MINUTE + 3]))
    anywhere = st.integers(bounds[0], bounds[-1] - 1)
    start = data.draw((near | anywhere).map(lambda at: max(bounds[0], min(at, bounds[-1] - 1))), "start")
    end = data.draw((near | anywhere).map(lambda at: min(at, bounds[-1], start + widest)), "end")
    if end <= start:
        end = start + 1
    expected = [(low, high) for low, high in pairwise(bounds) if low < end and high > start]
    assert buckets(start, end, interval, ZoneInfo(window[0])) == expected


@windows
def test_all_hours_and_days_of_a_window_are_found_in_one_walk(window: tuple[str, date]) -> None:
    for interval in (Interval.HOUR, Interval.DAY):
        bounds = walked(*window)[interval]
        assert buckets(bounds[0], bounds[-1], interval, ZoneInfo(window[0])) == list(pairwise(bounds))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [  # https://www.timeanddate.com/time/change/ lists these changes
        ("Europe/London", date(2011, 3, 27), 23),
        ("Europe/London", date(2011, 10, 30), 25),
        ("America/Sao_Paulo", date(2017, 10, 15), 23),
        ("America/Sao_Paulo", date(2018, 2, 17), 25),
        ("Australia/Lord_Howe", date(2011, 10, 2), 23.5),
        ("Australia/Lord_Howe", date(2011, 4, 3), 24.5),
        ("Pacific/Apia", date(2011, 12, 29), 24),
        ("Pacific/Apia", date(2011, 12, 30), 0),
        ("Antarctica/Casey", date(2009, 10, 18), 21),
    ],
)
def test_days_are_as_long_as_clocks_make_them(zone: str, day: date, hours: float) -> None:
    where = ZoneInfo(zone)
    assert day_start(day + timedelta(days=1), where) - day_start(day, where) == hours * HOUR


def test_a_skipped_day_has_no_bucket() -> None:
    week = buckets(micros(2011, 12, 30), micros(2011, 12, 31), Interval.WEEK, ZoneInfo("Pacific/Apia"))
    days = buckets(*week[0], Interval.DAY, ZoneInfo("Pacific/Apia"))
    assert [local_date(start, ZoneInfo("Pacific/Apia")).day for start, _ in days] == [26, 27, 28, 29, 31, 1]


def test_a_day_whose_midnight_comes_twice_begins_at_the_first() -> None:
    # Newfoundland put clocks back at 00:01 until 2011: 2010-11-07 began, and a minute later it was the 6th.
    zone = ZoneInfo("America/St_Johns")
    first = next(
        minute
        for minute in range(micros(2010, 11, 6), micros(2010, 11, 8), MINUTE)
        if to_datetime(minute, zone).date() == date(2010, 11, 7)
    )
    assert day_start(date(2010, 11, 7), zone) == first == micros(2010, 11, 7, 2, 30)
    assert to_datetime(first + MINUTE, zone).date() == date(2010, 11, 6)


@pytest.mark.parametrize(
    ("interval", "start", "end", "expected"),
    [
        (
            Interval.WEEK,
            (2011, 12, 31),
            (2012, 1, 2, 0, 0, 1),
            [(2011, 12, 26), (2012, 1, 2), (2012, 1, 9)],
        ),
        (Interval.MONTH, (2012, 2, 29), (2012, 3, 1), [(2012, 2, 1), (2012, 3, 1)]),
        (Interval.MONTH, (2011, 12, 31), (2012, 1, 2), [(2011, 12, 1), (2012, 1, 1), (2012, 2, 1)]),
        (Interval.DAY, (2011, 12, 31), (2012, 1, 1), [(2011, 12, 31), (2012, 1, 1)]),
        (Interval.HOUR, (2011, 12, 31, 23), (2012, 1, 1), [(2011, 12, 31, 23), (2012, 1, 1)]),
    ],
)
def test_weeks_begin_on_monday_and_years_end(
    interval: Interval, start: tuple[int, ...], end: tuple[int, ...], expected: list[tuple[int, ...]]
) -> None:
    found = buckets(micros(*start), micros(*end), interval, ZoneInfo("UTC"))
    assert found == list(pairwise(micros(*bound) for bound in expected))


@given(st.dates(date(2000, 1, 1), date(2100, 12, 31)))
def test_a_unit_holds_its_day_and_ends_where_the_next_begins(day: date) -> None:
    for interval, shares in (
        (Interval.WEEK, lambda other: other.isocalendar()[:2] == day.isocalendar()[:2]),
        (Interval.MONTH, lambda other: (other.year, other.month) == (day.year, day.month)),
        (Interval.DAY, lambda other: other == day),
    ):
        start = unit_start(day, interval)
        after = next_unit(start, interval)
        assert shares(start)
        assert not shares(start - timedelta(days=1))
        assert shares(after - timedelta(days=1))
        assert not shares(after)


@settings(max_examples=120)
@given(
    zone=st.sampled_from([*{name for name, _ in WINDOWS}, "Antarctica/Casey", "Antarctica/Troll"]),
    interval=st.sampled_from(Interval),
    start=st.integers(micros(2000, 1, 1), micros(2037, 1, 1)) | st.just(micros(2011, 10, 1)),
    width=st.integers(1, 3 * HOUR) | st.integers(1, 1_000 * HOUR) | st.integers(1, 20_000 * HOUR),
)
def test_the_upper_bound_is_never_too_small(zone: str, interval: Interval, start: int, width: int) -> None:
    if interval is Interval.HOUR:
        width = min(width, 1_000 * HOUR)
    found = buckets(start, start + width, interval, ZoneInfo(zone))
    assert 1 <= len(found) <= upper_bound(start, start + width, interval)


def test_the_upper_bound_follows_every_unit_s_length() -> None:
    # Ten years of the longest units there are: no more than one in ten too many.
    start, end = micros(2011, 1, 1), micros(2021, 1, 1)
    for interval in (Interval.DAY, Interval.WEEK, Interval.MONTH):
        number = len(buckets(start, end, interval, ZoneInfo("UTC")))
        assert number <= upper_bound(start, end, interval) <= number * 1.1 + 2


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))  # noqa: DTZ001 - made aware below
def test_instants_survive_the_way_to_a_local_time_and_back(moment: datetime) -> None:
    exact = (moment.toordinal() - 719_163) * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second
    instant = exact * 1_000_000 + moment.microsecond
    assert to_micros(moment.replace(tzinfo=UTC)) == instant
    assert to_micros(to_datetime(instant, ZoneInfo("Asia/Kathmandu"))) == instant


@given(st.integers(-700_000, 2_900_000))
def test_day_numbers_count_days_since_1970(number: int) -> None:
    day = date(1970, 1, 1) + timedelta(days=number)
    assert day_number(day) == number
    assert day_of_number(number) == day
