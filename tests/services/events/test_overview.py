"""The overview's choice of periods, growth between closed ones, and what both refuse."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import grpc
import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import events_pb2
from brain.events.v1 import overview_pb2 as pb
from brain.metrics.v1.metrics_pb2 import ListMetricsRequest
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.events.overview.kpis import KPIS, Part, last_unit, part_of, period_of, unit_of
from shared.calendar import HOUR_MICROS, Interval, day_start, local_date, to_micros
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.shop.asking import moment, time_range

UTC_ZONE = ZoneInfo("UTC")
NOW = datetime(2011, 11, 11, 8, 26, 40, tzinfo=UTC)  # a Friday; the tests' clock
RED = PropertyFilter(property="colour", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="red")])


def looked(service: Service, *times: datetime, colour: str = "blue") -> None:
    events = [
        events_pb2.Event(
            event_id=f"{colour}-{number}",
            user_id=f"u{number}",
            session_id="s",
            event="looked",
            properties_json=f'{{"colour": "{colour}"}}',
        )
        for number in range(len(times))
    ]
    for event, time in zip(events, times, strict=True):
        event.event_time.FromDatetime(time)
    assert not service.events.TrackEvents(events_pb2.TrackEventsRequest(events=events)).rejections


def kpis(answer: pb.GetOverviewResponse) -> dict[str, pb.Kpi]:
    return {each.name: each for each in answer.kpis}


def growth(service: Service, **changes: object) -> pb.GetGrowthRateResponse:
    request = {"name": "event_count", "labels": {"event": "looked"}, "period": INTERVAL_WEEK, **changes}
    return service.events.GetGrowthRate(pb.GetGrowthRateRequest(**request))  # type: ignore[arg-type]  # its fields


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_without_a_range_the_last_thirty_days_that_are_over_are_told(service: Service, zone: str) -> None:
    answer = service.events.GetOverview(pb.GetOverviewRequest(time_zone=zone))
    today = datetime(2011, 11, 11, tzinfo=ZoneInfo(zone))
    assert moment(answer.end_time) == today
    assert moment(answer.start_time) == today - timedelta(days=30)
    assert moment(answer.previous_start_time) == today - timedelta(days=60)
    assert answer.complete
    assert answer.time_zone == zone


def test_every_figure_has_a_value_or_a_reason_and_is_defined(service: Service) -> None:
    listed = {each.name: each for each in service.metrics.ListMetrics(ListMetricsRequest()).metrics}
    answer = service.events.GetOverview(pb.GetOverviewRequest())
    assert [each.name for each in answer.kpis] == list(KPIS)
    for each in answer.kpis:
        assert each.HasField("value") != bool(each.absent_reason)
        assert each.HasField("change_ratio") != bool(each.change_absent_reason)
        assert (each.definition, each.unit) == (listed[each.name].definition, listed[each.name].unit)
    found = kpis(answer)
    assert found["sessions"].value == 0
    assert found["bounce_ratio"].absent_reason == "no session began in the interval"


def test_figures_are_of_the_whole_period_or_of_its_last_day(service: Service) -> None:
    first = datetime(2011, 11, 1, tzinfo=UTC)
    looked(service, first - timedelta(days=1), first, first + timedelta(days=2), first + timedelta(days=3))
    span = time_range(first + timedelta(hours=5), first + timedelta(days=2, hours=1))
    answer = service.events.GetOverview(pb.GetOverviewRequest(time_range=span))
    assert (moment(answer.start_time), moment(answer.end_time)) == (first, first + timedelta(days=3))
    found = kpis(answer)
    assert (found["sessions"].value, found["sessions"].previous_value) == (2, 1)
    assert found["sessions"].change_ratio == 1
    assert (found["dau"].value, found["dau"].previous_value) == (1, 1)
    assert moment(found["dau"].start_time) == first + timedelta(days=2)
    assert (found["mau"].value, found["mau"].previous_value) == (3, 1)


def test_nothing_may_be_compared_with(service: Service) -> None:
    answer = service.events.GetOverview(pb.GetOverviewRequest(compare=pb.OVERVIEW_COMPARISON_NONE))
    assert not answer.HasField("previous_start_time")
    assert {each.change_absent_reason for each in answer.kpis} == {"nothing is compared with"}
    assert not any(each.HasField("previous_value") for each in answer.kpis)


def test_an_overview_refuses_all_that_is_wrong_at_once(service: Service) -> None:
    wrong = pb.GetOverviewRequest(time_range=TimeRange(), time_zone="Mars", compare=9)  # type: ignore[arg-type]  # not of the enum
    refused = refusal(lambda: service.events.GetOverview(wrong))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {"time_range.start_time", "time_range.end_time", "time_zone", "compare"}
    wide = TimeRange(start_time=Timestamp(seconds=0), end_time=Timestamp(seconds=4_000_000_000))
    refused = refusal(lambda: service.events.GetOverview(pb.GetOverviewRequest(time_range=wide)))
    assert "10,000" in refused.fields["time_range"]


def test_growth_is_between_the_last_two_closed_weeks(service: Service) -> None:
    monday = datetime(2011, 11, 7, tzinfo=UTC)  # of the week that is not over
    hours = [-1, -2, -3, -24 * 7, -24 * 7 - 1, -24 * 14, 0]
    looked(service, *(monday + timedelta(hours=each) for each in hours))
    answer = growth(service)
    assert (answer.current.value, answer.previous.value) == (4, 2)
    assert answer.growth_ratio == 1
    assert (moment(answer.current.start_time), moment(answer.current.end_time)) == (
        monday - timedelta(days=7),
        monday,
    )
    assert moment(answer.previous.start_time) == monday - timedelta(days=14)
    in_days = growth(service, period=INTERVAL_DAY)
    assert moment(in_days.current.end_time) == datetime(2011, 11, 11, tzinfo=UTC)
    assert in_days.absent_reason == "the previous value is 0"
    assert not in_days.HasField("growth_ratio")
    in_months = growth(service, period=INTERVAL_MONTH, time_zone="Asia/Kolkata")
    assert moment(in_months.current.start_time) == datetime(2011, 10, 1, tzinfo=ZoneInfo("Asia/Kolkata"))
    assert in_months.current.value == 3


def test_growth_of_an_earlier_period(service: Service) -> None:
    monday = datetime(2011, 10, 31, tzinfo=UTC)
    looked(service, monday, monday, monday, monday - timedelta(microseconds=1), monday + timedelta(days=7))
    for moment_inside in (monday, monday + timedelta(days=7, microseconds=-1)):
        answer = growth(service, current_time=moment_inside)
        assert (answer.current.value, answer.previous.value, answer.growth_ratio) == (3, 1, 2)
        assert moment(answer.current.start_time) == monday
    open_week = datetime(2011, 11, 7, tzinfo=UTC)
    for refused_time in (open_week, datetime(2101, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)):
        refused = refusal(lambda moment=refused_time: growth(service, current_time=moment))  # type: ignore[misc]  # a lambda's default
        assert set(refused.fields) == {"current_time"}


@pytest.mark.parametrize(("zone", "minutes"), [("UTC", -26), ("Asia/Kolkata", -56), ("Asia/Kathmandu", -11)])
def test_growth_may_be_between_the_last_two_closed_hours(service: Service, zone: str, minutes: int) -> None:
    end = NOW.replace(second=0) + timedelta(minutes=minutes)
    tick = timedelta(microseconds=1)
    looked(service, end - tick, end - timedelta(hours=1), end - timedelta(hours=1) - tick, end)
    answer = growth(service, period=INTERVAL_HOUR, time_zone=zone)
    assert (moment(answer.current.start_time), moment(answer.current.end_time)) == (
        end - timedelta(hours=1),
        end,
    )
    assert (answer.current.value, answer.previous.value) == (2, 1)


def test_growth_takes_filters_and_tells_why_a_value_is_absent(service: Service) -> None:
    day = datetime(2011, 11, 10, 3, tzinfo=UTC)
    looked(service, day, day, day - timedelta(days=1))
    looked(service, day - timedelta(days=1), colour="red")
    assert growth(service, period=INTERVAL_DAY).current.value == 2
    red = growth(service, period=INTERVAL_DAY, filters=[RED])
    assert (red.current.value, red.previous.value, red.growth_ratio) == (0, 1, -1)
    bounces = growth(service, name="bounce_ratio", labels={}, period=INTERVAL_DAY, filters=[RED])
    assert bounces.current.absent_reason == "no session began in the interval"
    assert bounces.absent_reason == "the current value is not defined"
    assert bounces.previous.value == 1


def test_growth_refuses_what_means_nothing(service: Service) -> None:
    refused = refusal(lambda: growth(service, name="sesions", labels={}))
    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert "sessions" in refused.message
    for changes, fields in (
        ({"name": "dau", "labels": {}, "period": INTERVAL_HOUR}, {"period"}),
        ({"period": 0, "labels": {}}, {"period", "labels[event]"}),
        ({"name": "dau", "labels": {"a": "b"}}, {"period", "labels[a]"}),
        ({"time_zone": "Mars", "filters": [PropertyFilter()]}, {"time_zone", "filters[0].property"}),
    ):
        refused = refusal(lambda changes=changes: growth(service, **changes))  # type: ignore[misc]  # a lambda's default
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert fields <= set(refused.fields)


def test_a_period_before_a_change_of_clocks_has_as_many_days() -> None:
    zone = ZoneInfo("Europe/London")
    days = [
        (
            day_start(datetime(2011, 11, day, tzinfo=UTC).date(), zone),
            day_start(datetime(2011, 11, day + 1, tzinfo=UTC).date(), zone),
        )
        for day in range(1, 6)
    ]
    period = period_of(days, zone, compared=True)
    assert period.previous == (day_start(datetime(2011, 10, 27, tzinfo=UTC).date(), zone), days[0][0])
    assert part_of(period.span, Part.LAST_DAY, zone) == days[-1]
    october = part_of(period.span, Part.LAST_MONTH, zone)
    assert october == (day_start(datetime(2011, 10, 1, tzinfo=UTC).date(), zone), days[0][0])


def test_the_day_before_one_that_does_not_exist_ends_where_it_would() -> None:
    apia = ZoneInfo("Pacific/Apia")
    noon = to_micros(datetime(2011, 12, 29, 12, tzinfo=apia))
    start, end = unit_of(noon, Interval.DAY, apia)
    assert (local_date(start, apia).day, local_date(end, apia).day) == (29, 31)
    assert end - start == 24 * HOUR_MICROS


def test_a_day_that_does_not_exist_is_none_that_is_over() -> None:
    apia = ZoneInfo("Pacific/Apia")  # went from 29 to 31 December 2011
    start, end = last_unit(day_start(datetime(2011, 12, 31, tzinfo=UTC).date(), apia), Interval.DAY, apia)
    assert start == day_start(datetime(2011, 12, 29, tzinfo=UTC).date(), apia) < end
