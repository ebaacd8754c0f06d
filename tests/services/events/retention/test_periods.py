"""Life cycles, days active and their metrics over every small history, person by person."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, INTERVAL_MONTH, INTERVAL_WEEK
from brain.events.v1 import retention_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery, MetricSeries, ReadMetricRequest

from tests.clock import Clock
from tests.services.events.conftest import Service
from tests.services.events.retention.conftest import micros
from tests.services.events.retention.histories import (
    HALF_HOUR,
    LONG_DAY,
    NEW_YEAR,
    ZONES,
    Happened,
    day_of,
    days_by_person,
    histories,
    local_day,
    span,
    units,
)

Days = dict[str, set[date]]
INTERVALS = (INTERVAL_DAY, INTERVAL_WEEK, INTERVAL_MONTH)
CASES = [
    (NEW_YEAR, "UTC", date(2010, 12, 27), date(2011, 1, 5), datetime(2011, 1, 3, 12, tzinfo=UTC)),
    # Everything before the range lies in the week and the month before it, some of it not on the day before.
    (NEW_YEAR, "UTC", date(2011, 1, 3), date(2011, 1, 5), datetime(2011, 2, 3, 12, tzinfo=UTC)),
    (LONG_DAY, "Europe/London", date(2011, 10, 29), date(2011, 11, 2), datetime(2011, 11, 5, tzinfo=UTC)),
    (
        HALF_HOUR,
        "Australia/Lord_Howe",
        date(2011, 9, 26),
        date(2011, 10, 4),
        datetime(2011, 10, 3, 1, tzinfo=UTC),
    ),
]


@pytest.fixture(params=CASES, ids=["new year", "after new year", "long day", "half hour"])
def case(
    request: pytest.FixtureRequest, holding: Callable[[list[Happened], str], Service], clock: Clock
) -> tuple[Service, list[Happened], date, date, datetime]:
    moments, reporting, first, after, now = request.param
    events = histories(moments)
    service = holding(events, reporting)
    clock.micros = micros(now)
    return service, events, first, after, now


def active(people: Days, first: date, after: date) -> set[str]:
    return {person for person, days in people.items() if any(first <= day < after for day in days)}


def lifecycle(people: Days, first: date, after: date, interval: int) -> tuple[int, int, int, int, int]:
    """Look at each person's days before the period, and at those in the period before it."""
    [(previous, _)] = units(first - timedelta(days=1), first, interval)
    now, before = active(people, first, after), active(people, previous, first)
    ever = active(people, date.min, first)
    return (
        len(now),
        sum(person not in ever for person in now),
        sum(person in before for person in now),
        sum(person in ever and person not in before for person in now),
        sum(person not in now for person in before),
    )


@pytest.mark.parametrize("event", ["", "start"])
def test_every_person_has_one_place_in_the_life_cycle(
    case: tuple[Service, list[Happened], date, date, datetime], event: str
) -> None:
    service, events, first, after, now = case
    for name in ZONES:
        zone = ZoneInfo(name)
        people = days_by_person(events, zone, event)
        for interval in INTERVALS:
            answer = service.events.GetLifecycle(
                pb.GetLifecycleRequest(
                    interval=interval,
                    time_range=span(first, after, zone),
                    time_zone=name,
                    events=[event] if event else [],
                )
            )
            periods = units(first, after, interval)
            assert [(day_of(p.start_time, zone), day_of(p.end_time, zone)) for p in answer.periods] == periods
            assert [
                (p.active, p.new_users, p.returning, p.resurrected, p.dormant) for p in answer.periods
            ] == [lifecycle(people, *period, interval) for period in periods]
            assert [p.complete for p in answer.periods] == [end <= local_day(now, zone) for _, end in periods]


@pytest.mark.parametrize("event", ["", "start"])
def test_people_are_counted_by_their_days_active(
    case: tuple[Service, list[Happened], date, date, datetime], event: str
) -> None:
    service, events, first, after, now = case
    for name in ZONES:
        zone = ZoneInfo(name)
        today = local_day(now, zone)
        people = days_by_person(events, zone, event)
        for interval in (INTERVAL_WEEK, INTERVAL_MONTH):
            answer = service.events.GetStickiness(
                pb.GetStickinessRequest(
                    interval=interval,
                    time_range=span(first, after, zone),
                    time_zone=name,
                    events=[event] if event else [],
                )
            )
            for period, (start, end) in zip(answer.periods, units(first, after, interval), strict=True):
                check_stickiness(period, people, (start, min(end, today + timedelta(days=1))), end)
                assert day_of(period.start_time, zone) == start
                assert period.complete == (end <= today)


def check_stickiness(period: pb.StickinessPeriod, people: Days, begun: tuple[date, date], end: date) -> None:
    first, after = begun
    days = [sum(first <= day < after for day in own) for own in people.values()]
    counts = Counter(number for number in days if number)
    assert [bucket.days for bucket in period.histogram] == list(range(1, (end - first).days + 1))
    assert {bucket.days: bucket.users for bucket in period.histogram if bucket.users} == counts
    assert period.users == counts.total()
    assert period.begun_days == max((after - first).days, 0)
    if not counts:
        assert not period.HasField("average_days")
        assert not period.HasField("stickiness_ratio")
        assert period.absent_reason == ("NO_ACTIVE_USERS" if period.begun_days else "NOT_BEGUN")
        return
    assert period.average_days == pytest.approx(sum(days) / period.users, rel=1e-12)
    daily = [len(active(people, first + timedelta(days=n), first + timedelta(days=n + 1))) for n in range(40)]
    mean = sum(daily[: period.begun_days]) / period.begun_days
    assert period.stickiness_ratio == pytest.approx(mean / period.users, rel=1e-12)
    assert not period.absent_reason


def series(
    service: Service, name: str, interval: int, days: tuple[date, date], zone: ZoneInfo
) -> MetricSeries:
    query = MetricQuery(
        name=name,
        interval=interval,  # type: ignore[arg-type]  # one of the enum's numbers
        time_range=span(*days, zone),
        time_zone=zone.key,
    )
    return service.metrics.ReadMetric(ReadMetricRequest(query=query)).series


def points(found: MetricSeries) -> list[tuple[float | None, int]]:
    return [(each.value if each.HasField("value") else None, each.sample_size) for each in found.points]


def share(part: int, whole: int) -> tuple[float | None, int]:
    return (part / whole if whole else None), whole


def test_metrics_are_those_of_each_person(
    case: tuple[Service, list[Happened], date, date, datetime],
) -> None:
    service, events, first, after, _ = case
    for name in ZONES:
        zone = ZoneInfo(name)
        people = days_by_person(events, zone, "")
        for interval in INTERVALS:
            begun = [period for period in units(first, after, interval) if period[0] >= first]
            cycles = [lifecycle(people, *period, interval) for period in begun]
            new = points(series(service, "new_users", interval, (first, after), zone))
            assert new == [(cycle[1], cycle[1]) for cycle in cycles]
            if interval != INTERVAL_DAY:
                churn = points(series(service, "churn_ratio", interval, (first, after), zone))
                assert churn == [share(cycle[4], cycle[2] + cycle[4]) for cycle in cycles]
        engagement = points(series(service, "engagement_score", INTERVAL_DAY, (first, after), zone))
        assert engagement == [
            share(
                len(active(people, day, day + timedelta(days=1))),
                len(active(people, day - timedelta(days=29), day + timedelta(days=1))),
            )
            for day in (first + timedelta(days=number) for number in range((after - first).days))
        ]


def test_people_are_new_in_one_hour(case: tuple[Service, list[Happened], date, date, datetime]) -> None:
    service, events, *_ = case
    first_times: dict[str, datetime] = {}
    for each in events:
        first_times[each.who] = min(each.time, first_times.get(each.who, each.time))
    days = (min(each.time for each in events).date(), max(each.time for each in events).date())
    found = series(
        service, "new_users", INTERVAL_HOUR, (days[0], days[1] + timedelta(days=1)), ZoneInfo("UTC")
    )
    expected = Counter(moment.replace(minute=0, second=0, microsecond=0) for moment in first_times.values())
    assert {
        point.start_time.ToDatetime(UTC): point.value for point in found.points if point.value
    } == expected
