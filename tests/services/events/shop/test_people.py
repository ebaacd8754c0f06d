"""Who was active when: days, trailing windows, weeks and months, beside sets made from the file."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery
from google.protobuf.struct_pb2 import Value

from tests.services.events.conftest import Service
from tests.services.events.shop import lines
from tests.services.events.shop.asking import (
    DAY_AFTER,
    FIRST_DAY,
    WHOLE,
    local,
    moment,
    series,
    time_range,
)

UTC, LONDON, KOLKATA = ZoneInfo("UTC"), ZoneInfo("Europe/London"), ZoneInfo("Asia/Kolkata")
DAYS = [FIRST_DAY + timedelta(days=number) for number in range((DAY_AFTER - FIRST_DAY).days)]


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def first(day: date) -> date:
    return day.replace(day=1)


def active(service: Service, zone: ZoneInfo, **changes: object) -> dict[date, int]:
    """Ask for a series over the whole year; return people by the local date a period begins on."""
    request = pb.GetActiveUsersRequest(
        time_range=time_range(local(FIRST_DAY, zone), local(DAY_AFTER, zone)),
        time_zone=zone.key,
        **changes,  # type: ignore[arg-type]  # of the request's fields
    )
    answer = service.events.GetActiveUsers(request)
    assert answer.time_zone == zone.key
    return {moment(each.start_time, zone).date(): each.users for each in answer.active_users}


@pytest.mark.parametrize("zone", [UTC, LONDON, KOLKATA], ids=str)
def test_people_by_day(shop: Service, zone: ZoneInfo) -> None:
    people = lines.people_by_day(zone)
    expected = {day: len(people.get(day, ())) for day in DAYS}
    assert active(shop, zone, period=pb.ACTIVE_PERIOD_DAY) == expected
    assert active(shop, zone, period=pb.ACTIVE_PERIOD_DAY, known_only=True) == expected


@pytest.mark.parametrize("zone", [LONDON, KOLKATA], ids=str)
def test_people_by_calendar_week_and_month(shop: Service, zone: ZoneInfo) -> None:
    for period, unit in ((pb.ACTIVE_PERIOD_WEEK, monday), (pb.ACTIVE_PERIOD_MONTH, first)):
        members: dict[date, set[str]] = {unit(day): set() for day in DAYS}
        for day, people in lines.people_by_day(zone).items():
            members[unit(day)] |= people
        expected = {start: len(found) for start, found in members.items()}
        assert active(shop, zone, period=period) == expected


def test_actors_by_day(shop: Service) -> None:
    expected = lines.counted_by(lambda visit: visit.time.date(), sessions=True)
    found = active(shop, UTC, period=pb.ACTIVE_PERIOD_DAY, include_sessions=True)
    assert found == {day: expected[day].users if day in expected else 0 for day in DAYS}


def test_people_who_returned_something_by_month(shop: Service) -> None:
    returned = (visit for visit in lines.visits() if visit.event == "item_returned")
    expected = lines.counted_by(lambda visit: first(visit.time.date()), returned)
    found = active(shop, UTC, period=pb.ACTIVE_PERIOD_MONTH, events=["item_returned"])
    assert found == {month: each.users for month, each in expected.items()}


def test_people_of_one_country_by_week(folded_shop: Service) -> None:
    only = PropertyFilter(
        property="country", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="France")]
    )
    members: dict[date, set[str]] = {monday(day): set() for day in DAYS}
    for line in lines.lines():
        if line.country == "France" and line.customer:
            members[monday(line.time.date())].add(line.customer)
    found = active(folded_shop, UTC, period=pb.ACTIVE_PERIOD_WEEK, filters=[only])
    assert found == {start: len(people) for start, people in members.items()}


@pytest.mark.parametrize("zone", [UTC, LONDON, KOLKATA], ids=str)
def test_trailing_people_of_each_day(shop: Service, zone: ZoneInfo) -> None:
    """Also of the first days, whose windows begin before all data, and of days without any."""
    start, end = date(2010, 11, 29), date(2011, 12, 14)
    days = [start + timedelta(days=number) for number in range((end - start).days)]
    people = lines.people_by_day(zone)
    span = time_range(local(start, zone), local(end, zone))
    names = {"dau": 1, "wau": 7, "mau": 30}
    queries = [
        MetricQuery(name=name, interval=INTERVAL_DAY, time_range=span, time_zone=zone.key) for name in names
    ]
    for width, found in zip(names.values(), series(shop, queries), strict=True):
        expected = [lines.people_of_days(people, day, width) for day in days]
        assert [point.value for point in found.points] == expected
        assert [point.sample_size for point in found.points] == expected
        assert [moment(point.start_time, zone).date() for point in found.points] == days
        assert all(point.complete for point in found.points)


def test_weekly_and_monthly_metrics_follow_the_calendar(shop: Service) -> None:
    found = series(
        shop,
        [
            MetricQuery(name="wau", interval=INTERVAL_WEEK, time_range=WHOLE),
            MetricQuery(name="mau", interval=INTERVAL_MONTH, time_range=WHOLE),
        ],
    )
    for unit, each in zip((monday, first), found, strict=True):
        members: dict[date, set[str]] = {unit(day): set() for day in DAYS}
        for day, people in lines.people_by_day(UTC).items():
            members[unit(day)] |= people
        begun = [start for start in members if start >= FIRST_DAY]  # inside the range
        assert [point.value for point in each.points] == [len(members[start]) for start in begun]


@pytest.mark.parametrize(
    ("period", "days"),
    [(pb.ACTIVE_PERIOD_DAY, 1), (pb.ACTIVE_PERIOD_WEEK, 7), (pb.ACTIVE_PERIOD_MONTH, 30)],
)
def test_people_of_now(shop: Service, period: pb.ActivePeriod.ValueType, days: int) -> None:
    """Now is noon on 2011-12-16, a week after the last line."""
    request = pb.GetActiveUsersRequest(period=period, time_zone="Asia/Kolkata")
    [found] = shop.events.GetActiveUsers(request).active_users
    today = date(2011, 12, 16)
    assert found.users == lines.people_of_days(lines.people_by_day(KOLKATA), today, days)
    assert moment(found.start_time) == local(today - timedelta(days=days - 1), KOLKATA)
    assert moment(found.end_time) == local(today + timedelta(days=1), KOLKATA)
    assert not found.complete


def test_metrics_of_events_by_month(shop: Service) -> None:
    names = ("event_count", "event_users", "event_value", "revenue")
    queries = [
        MetricQuery(
            name=name,
            labels={} if name == "revenue" else {"event": "item_purchased"},
            interval=INTERVAL_MONTH,
            time_range=time_range(local(FIRST_DAY, LONDON), local(DAY_AFTER, LONDON)),
            time_zone="Europe/London",
        )
        for name in names
    ]
    found = dict(zip(names, series(shop, queries), strict=True))

    def month(visit: lines.Visit) -> date:
        return first(lines.local_day(visit.time, LONDON))

    purchases = lines.counted_by(month, (v for v in lines.visits() if v.event == "item_purchased"))
    everything = lines.counted_by(month)
    months = sorted(everything)
    assert len(months) == 13
    assert [point.value for point in found["event_count"].points] == [purchases[m].events for m in months]
    assert [point.value for point in found["event_users"].points] == [purchases[m].users for m in months]
    assert [point.value for point in found["event_value"].points] == [purchases[m].value_sum for m in months]
    assert [point.value for point in found["revenue"].points] == [everything[m].value_sum for m in months]
    assert [point.sample_size for point in found["revenue"].points] == [everything[m].events for m in months]
    assert [point.complete for point in found["revenue"].points] == [True] * 12 + [False]


def test_revenue_by_hour_of_a_zone_of_half_hours(shop: Service) -> None:
    start, end = date(2011, 11, 14), date(2011, 11, 28)
    query = MetricQuery(
        name="revenue",
        interval=INTERVAL_HOUR,
        time_range=time_range(local(start, KOLKATA), local(end, KOLKATA)),
        time_zone="Asia/Kolkata",
    )
    [found] = series(shop, [query])

    def hour(visit: lines.Visit) -> datetime:
        return visit.time.astimezone(KOLKATA).replace(minute=0)

    expected = lines.counted_by(hour, lines.between(local(start, KOLKATA), local(end, KOLKATA)))
    told = {moment(point.start_time, KOLKATA): point.value for point in found.points}
    assert len(told) == 14 * 24
    assert {when: value for when, value in told.items() if when in expected} == {
        when: each.value_sum for when, each in expected.items()
    }
    assert {value for when, value in told.items() if when not in expected} == {0.0}
