"""Samoa went from the 29th to the 31st of December 2011: what a day that never was does to numbers by day."""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, PROPERTY_OPERATOR_LESS, PropertyFilter, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.overview_pb2 import GetGrowthRateRequest, GetOverviewRequest
from brain.metrics.v1.metrics_pb2 import MetricQuery, MetricSeries, ReadMetricRequest
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.clock import Clock
from tests.services.events.conftest import Service
from tests.services.events.shop.asking import moment, time_range

APIA = ZoneInfo("Pacific/Apia")
FIRST, LAST = date(2011, 11, 20), date(2012, 1, 12)
SKIPPED = date(2011, 12, 30)
Activity = set[tuple[date, str, int]]  # local date, who, size


@pytest.fixture
def activity(service: Service, clock: Clock) -> Activity:
    """Forty people, each on some days of their own; everybody on the last day before the gap."""
    clock.micros = int(datetime(2012, 1, 13, 12, tzinfo=UTC).timestamp() * 1e6)
    chance = random.Random(30)
    request = pb.TrackEventsRequest()
    happened = set()
    for number in range(400):
        when = datetime(2011, 11, 20, tzinfo=APIA) + timedelta(hours=chance.randrange(24 * 53))
        local = when.astimezone(UTC).astimezone(APIA).date()
        who, size = f"u{chance.randrange(40)}", chance.randrange(3)
        happened.add((local, who, size))
        event = request.events.add(event_id=str(number), user_id=who, session_id="s", event="seen")
        event.event_time.FromDatetime(when.astimezone(UTC))
        event.properties_json = f'{{"size": {size}}}'
    assert service.events.TrackEvents(request).accepted == 400
    return happened


def read(service: Service, name: str, *, small: bool = False) -> MetricSeries:
    """Return a metric by day around the day that was skipped, by size besides."""
    small_only = PropertyFilter(
        property="size", operator=PROPERTY_OPERATOR_LESS, values=[Value(number_value=2)]
    )
    query = MetricQuery(
        name=name,
        interval=INTERVAL_DAY,
        time_range=TimeRange(start_time=midnight(date(2011, 12, 25)), end_time=midnight(LAST)),
        time_zone="Pacific/Apia",
        group_property="size",
        filters=[small_only] if small else [],
    )
    return service.metrics.ReadMetric(ReadMetricRequest(query=query)).series


def midnight(day: date) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(day.year, day.month, day.day, tzinfo=APIA).astimezone(UTC))
    return stamp


def people(activity: Activity, last: date, days: int, sizes: set[int]) -> int:
    first = last - timedelta(days=days - 1)
    return len({who for day, who, size in activity if first <= day <= last and size in sizes})


@pytest.mark.parametrize(("name", "days"), [("wau", 7), ("mau", 30)])
@pytest.mark.parametrize("small", [True, False])
def test_trailing_windows_are_of_local_dates(
    service: Service, activity: Activity, name: str, days: int, *, small: bool
) -> None:
    found = read(service, name, small=small)
    dates = [moment(point.start_time).astimezone(APIA).date() for point in found.points]
    assert dates == [
        date(2011, 12, 25) + timedelta(days=each)
        for each in range(18)
        if date(2011, 12, 25) + timedelta(days=each) != SKIPPED
    ]
    sizes = {0, 1} if small else {0, 1, 2}
    assert [point.value for point in found.points] == [people(activity, day, days, sizes) for day in dates]
    assert {group.group for group in found.groups} == {str(size) for size in sizes}
    for group in found.groups:
        expected = [people(activity, day, days, {int(group.group)}) for day in dates]
        assert [point.value for point in group.points] == expected


def test_the_day_before_is_the_one_that_was(service: Service, activity: Activity) -> None:
    start = datetime(2011, 12, 31, 9, tzinfo=APIA)
    request = GetOverviewRequest(
        time_range=time_range(start, start + timedelta(hours=1)), time_zone="Pacific/Apia"
    )
    answer = service.events.GetOverview(request)
    assert moment(answer.previous_start_time) == datetime(2011, 12, 29, tzinfo=APIA)
    found = {each.name: each for each in answer.kpis}
    everything = {0, 1, 2}
    for name, days in (("dau", 1), ("wau", 7), ("mau", 30)):
        current, previous = (
            people(activity, day, days, everything) for day in (date(2011, 12, 31), date(2011, 12, 29))
        )
        assert (found[name].value, found[name].previous_value) == (current, previous)
    known = {who for day, who, _ in activity if day < date(2011, 12, 29)}
    new = {who for day, who, _ in activity if day == date(2011, 12, 29)} - known
    assert found["new_users"].previous_value == len(new)


def test_growth_is_from_the_day_before(service: Service, clock: Clock, activity: Activity) -> None:
    clock.micros = int(datetime(2012, 1, 1, 1, tzinfo=APIA).timestamp() * 1e6)
    request = GetGrowthRateRequest(name="wau", period=INTERVAL_DAY, time_zone="Pacific/Apia")
    answer = service.events.GetGrowthRate(request)
    assert answer.current.value == people(activity, date(2011, 12, 31), 7, {0, 1, 2})
    assert answer.previous.value == people(activity, date(2011, 12, 29), 7, {0, 1, 2})
