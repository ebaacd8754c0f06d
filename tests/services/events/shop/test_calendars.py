"""Counts over local hours, days, weeks and months, beside a plain count of the file."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, INTERVAL_MONTH, INTERVAL_WEEK
from brain.events.v1 import events_pb2 as pb

from tests.services.events.conftest import Service
from tests.services.events.shop import lines
from tests.services.events.shop.asking import DAY_AFTER, FIRST_DAY, count, local, moment, time_range
from tests.services.events.shop.lines import Count, Visit

UTC, LONDON, KOLKATA = ZoneInfo("UTC"), ZoneInfo("Europe/London"), ZoneInfo("Asia/Kolkata")
EMPTY = Count(0, 0, 0)


def day_of(when: datetime) -> datetime:
    return when.replace(hour=0, minute=0)


def hour_of(when: datetime) -> datetime:
    return when.replace(minute=0)


def week_of(when: datetime) -> datetime:
    return day_of(when) - timedelta(days=when.weekday())


def month_of(when: datetime) -> datetime:
    return day_of(when).replace(day=1)


@pytest.mark.parametrize("zone", [UTC, LONDON, KOLKATA], ids=str)
@pytest.mark.parametrize("sessions", [False, True])
def test_days(shop: Service, zone: ZoneInfo, *, sessions: bool) -> None:
    found = counted(shop, zone, INTERVAL_DAY, sessions=sessions)
    expected = by_wall_clock(zone, day_of, sessions=sessions)
    days = [FIRST_DAY + timedelta(days=number) for number in range((DAY_AFTER - FIRST_DAY).days)]
    assert [start.date() for start in found] == days, "empty ones included"
    assert found == {local(day, zone): EMPTY for day in days} | expected


@pytest.mark.parametrize("zone", [UTC, KOLKATA], ids=str)
def test_hours(shop: Service, zone: ZoneInfo) -> None:
    found = counted(shop, zone, INTERVAL_HOUR)
    assert len(found) == (DAY_AFTER - FIRST_DAY).days * 24
    assert {start: each for start, each in found.items() if each.events} == by_wall_clock(zone, hour_of)


def test_weeks_begin_on_monday_and_are_cut_at_the_range(shop: Service) -> None:
    found = counted(shop, LONDON, INTERVAL_WEEK)
    expected = dict(by_wall_clock(LONDON, week_of))
    first = local(FIRST_DAY, LONDON)
    expected[first] = expected.pop(local(date(2010, 11, 29), LONDON))
    assert {start: each for start, each in found.items() if each.events} == expected
    assert [start.weekday() for start in found] == [2] + [0] * 53


def test_months(shop: Service) -> None:
    found = counted(shop, KOLKATA, INTERVAL_MONTH)
    assert found == by_wall_clock(KOLKATA, month_of)
    assert len(found) == 13


def test_a_day_in_spring_is_short_and_one_in_autumn_long(shop: Service) -> None:
    for day, hours in ((date(2011, 3, 27), 23), (date(2011, 10, 30), 25)):
        request = pb.CountEventsRequest(
            time_range=time_range(local(day, LONDON), local(day + timedelta(days=1), LONDON)),
            interval=INTERVAL_HOUR,
            time_zone="Europe/London",
        )
        assert len(shop.events.CountEvents(request).counts) == hours


def test_intervals_are_cut_where_the_range_ends(shop: Service) -> None:
    start, end = datetime(2011, 11, 8, 9, 7, 13, tzinfo=UTC), datetime(2011, 11, 10, 17, 41, tzinfo=UTC)
    request = pb.CountEventsRequest(
        time_range=time_range(start, end), interval=INTERVAL_DAY, time_zone="Asia/Kolkata"
    )
    found = {moment(each.start_time): count(each) for each in shop.events.CountEvents(request).counts}
    bounds = [start, local(date(2011, 11, 9), KOLKATA), local(date(2011, 11, 10), KOLKATA), end]
    assert found == {low: lines.count(lines.between(low, high)) for low, high in pairwise(bounds)}
    assert all(each.events for each in found.values())


def counted(
    service: Service, zone: ZoneInfo, interval: int, *, sessions: bool = False
) -> dict[datetime, Count]:
    answer = service.events.CountEvents(
        pb.CountEventsRequest(
            time_range=time_range(local(FIRST_DAY, zone), local(DAY_AFTER, zone)),
            interval=interval,  # type: ignore[arg-type]  # one of the constants above
            time_zone=zone.key,
            include_sessions=sessions,
        )
    )
    assert answer.time_zone == zone.key
    assert [each.complete for each in answer.counts] == [True] * (len(answer.counts) - 1) + [
        interval != INTERVAL_MONTH  # December goes on
    ]
    return {moment(each.start_time, zone): count(each) for each in answer.counts}


@cache
def by_wall_clock(
    zone: ZoneInfo, bucket: Callable[[datetime], datetime], *, sessions: bool = False
) -> dict[datetime, Count]:
    def key(visit: Visit) -> datetime:
        return bucket(visit.time.astimezone(zone))

    return lines.counted_by(key, sessions=sessions)
