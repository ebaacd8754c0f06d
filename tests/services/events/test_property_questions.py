"""Filters on properties and break-downs by them, over real calls, against plain Python."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
    Interval,
    TimeRange,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1 import metrics_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.events.domain import Condition, Operator
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.property_events import (
    FIRST_SECOND,
    SECONDS,
    Sent,
    by_group,
    people,
    ranked,
    sent_events,
    value_sum,
    within,
)
from tests.services.events.property_filters import FILTERS, filter_of
from tests.services.events.test_conditions import holds

RANGE = TimeRange(
    start_time=Timestamp(seconds=FIRST_SECOND - 3_600),
    end_time=Timestamp(seconds=FIRST_SECOND + SECONDS + 3_600),
)
ZONES = ["UTC", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe"]
LENGTHS = {INTERVAL_HOUR: 3_600, INTERVAL_DAY: 86_400, INTERVAL_WEEK: 604_800}
PATHS = ["plan", "address.city", "plan.1", "nowhere"]


@pytest.fixture(scope="module")
def sent() -> list[Sent]:
    return sent_events(1, 700)


@pytest.fixture
def asked(service: Service, sent: list[Sent]) -> Service:
    service.events.TrackEvents(pb.TrackEventsRequest(events=[each.event for each in sent]))
    return service


def value_of(group: pb.ActiveUsers | pb.EventCount | metrics_pb2.MetricGroup) -> str | None:
    return group.group if group.HasField("group") else None


def meeting(sent: list[Sent], path: str, operator: Operator, values: tuple[Any, ...]) -> list[Sent]:
    condition = Condition(tuple(path.split(".")), operator, values)
    return [each for each in sent if holds(condition, each.document)]


def spans(stamps: list[Timestamp], end: int) -> Iterator[tuple[int, int]]:
    starts = [stamp.ToMicroseconds() for stamp in stamps]
    return zip(starts, [*starts[1:], end], strict=True)


def test_filters_hold_for_counts_people_and_metrics_alike(asked: Service, sent: list[Sent]) -> None:
    for each in FILTERS:
        matching, conditions = meeting(sent, *each), [filter_of(*each)]
        count = asked.events.CountEvents(pb.CountEventsRequest(time_range=RANGE, filters=conditions)).counts[
            0
        ]
        assert (count.events, count.users) == (len(matching), people(matching)), each
        active = asked.events.GetActiveUsers(
            pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_DAY, time_range=RANGE, filters=conditions)
        ).active_users
        for period in active:
            span = period.start_time.ToMicroseconds(), period.end_time.ToMicroseconds()
            assert period.users == people(within(matching, *span)), each
        query = metrics_pb2.MetricQuery(
            name="revenue", interval=INTERVAL_MONTH, time_range=MONTHS, filters=conditions
        )
        points = asked.metrics.ReadMetric(metrics_pb2.ReadMetricRequest(query=query)).series.points
        paid = [event for event in matching if event.event.category == "revenue"]
        assert sum(point.value for point in points) == pytest.approx(value_sum(paid), abs=1e-9), each
        assert sum(point.sample_size for point in points) == len(paid), each


MONTHS = TimeRange(start_time=Timestamp(seconds=1_317_427_200), end_time=Timestamp(seconds=1_322_697_600))


def test_conditions_on_several_properties_all_hold(asked: Service, sent: list[Sent]) -> None:
    both = [FILTERS[0], ("address.city", Operator.EQUALS, ("Oslo",))]
    matching = meeting(meeting(sent, *both[0]), *both[1])
    request = pb.CountEventsRequest(time_range=RANGE, filters=[filter_of(*each) for each in both])
    [count] = asked.events.CountEvents(request).counts
    assert (count.events, count.users) == (len(matching), people(matching))
    assert matching


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("path", PATHS)
def test_active_people_are_broken_down(asked: Service, sent: list[Sent], zone: str, path: str) -> None:
    for period in (pb.ACTIVE_PERIOD_DAY, pb.ACTIVE_PERIOD_WEEK):
        request = pb.GetActiveUsersRequest(
            period=period, time_range=RANGE, time_zone=zone, group_property=path, page_size=1_000
        )
        answer = asked.events.GetActiveUsers(request)
        assert answer.next_page_token == ""
        expected = list(ranked(by_group(sent, path), people))
        rows = len(answer.active_users) // len(expected)
        for number, (group, events) in enumerate(expected):
            for active in answer.active_users[number * rows : (number + 1) * rows]:
                span = active.start_time.ToMicroseconds(), active.end_time.ToMicroseconds()
                assert (value_of(active)) == group
                assert active.users == people(within(events, *span))


def test_pages_of_values_follow_one_another(asked: Service, sent: list[Sent]) -> None:
    request = pb.GetActiveUsersRequest(
        period=pb.ACTIVE_PERIOD_MONTH, time_range=RANGE, group_property="plan", page_size=3
    )
    found: list[str | None] = []
    while True:
        answer = asked.events.GetActiveUsers(request)
        rows = [
            active for active in answer.active_users if active.start_time == answer.active_users[0].start_time
        ]
        assert len(rows) <= 3
        found += [value_of(active) for active in rows]
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert found == [group for group, _ in ranked(by_group(sent, "plan"), people)]


def test_people_of_now_are_broken_down(asked: Service, sent: list[Sent], clock: Any) -> None:  # noqa: ANN401
    clock.micros = (FIRST_SECOND + SECONDS) * 1_000_000
    request = pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_MONTH, group_property="plan", page_size=1_000)
    found = {value_of(active): active.users for active in asked.events.GetActiveUsers(request).active_users}
    assert found == {group: people(events) for group, events in by_group(sent, "plan").items()}


@pytest.mark.parametrize("zone", ZONES)
def test_counts_are_broken_down(asked: Service, sent: list[Sent], zone: str) -> None:
    for interval in (INTERVAL_DAY, INTERVAL_HOUR):
        request = pb.CountEventsRequest(
            time_range=RANGE,
            interval=interval,
            time_zone=zone,
            group_by=pb.COUNT_GROUP_PROPERTY,
            group_property="plan",
            events=["viewed"],
        )
        answer = asked.events.CountEvents(request)
        expected = list(ranked(by_group([e for e in sent if e.event.event == "viewed"], "plan"), len))
        rows = len(answer.counts) // len(expected)
        for number, (group, events) in enumerate(expected):
            counts = answer.counts[number * rows : (number + 1) * rows]
            ends = RANGE.end_time.ToMicroseconds()
            for count, span in zip(counts, spans([each.start_time for each in counts], ends), strict=True):
                inside = within(events, *span)
                assert (value_of(count)) == group
                assert (count.events, count.users) == (len(inside), people(inside))
                assert count.value_sum == pytest.approx(value_sum(inside), abs=1e-9)


Expected = Callable[[list[Sent], int, int], tuple[float, int]]


def trailing(days: int) -> Expected:
    def expected(events: list[Sent], start: int, end: int) -> tuple[float, int]:
        number = people(within(events, end - days * 86_400_000_000, end))
        return number, number

    return expected


def of_interval(value: Callable[[list[Sent]], float]) -> Expected:
    def expected(events: list[Sent], start: int, end: int) -> tuple[float, int]:
        inside = within(events, start, end)
        return value(inside), len(inside)

    return expected


@dataclass(frozen=True)
class Case:
    """A metric, how it is asked, which events count, and what its points are."""

    name: str
    event: str
    interval: Interval.ValueType
    category: str
    expected: Expected

    def counts(self, each: Sent) -> bool:
        return self.event in {"", each.event.event} and self.category in {"", each.event.category}


CASES = [
    Case("dau", "", INTERVAL_DAY, "", trailing(1)),
    Case("wau", "", INTERVAL_DAY, "", trailing(7)),
    Case("mau", "", INTERVAL_DAY, "", trailing(30)),
    Case("event_count", "viewed", INTERVAL_HOUR, "", of_interval(len)),
    Case("event_users", "viewed", INTERVAL_WEEK, "", of_interval(people)),
    Case("event_value", "bought", INTERVAL_DAY, "", of_interval(value_sum)),
    Case("revenue", "", INTERVAL_DAY, "revenue", of_interval(value_sum)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_metrics_are_broken_down(asked: Service, sent: list[Sent], case: Case) -> None:
    """From Monday the 24th on, so that weeks begin inside; in UTC, whose days have 24 hours."""
    start, end = FIRST_SECOND - 86_400, FIRST_SECOND + SECONDS
    query = metrics_pb2.MetricQuery(
        name=case.name,
        labels={"event": case.event} if case.event else {},
        interval=case.interval,
        time_range=TimeRange(start_time=Timestamp(seconds=start), end_time=Timestamp(seconds=end)),
        group_property="plan",
        group_limit=100,
    )
    series = asked.metrics.ReadMetric(metrics_pb2.ReadMetricRequest(query=query)).series
    groups = list(ranked(by_group(filter(case.counts, sent), "plan"), len))
    assert [value_of(each) for each in series.groups] == [group for group, _ in groups]
    for group, (_, events) in zip(series.groups, groups, strict=True):
        for point in group.points:
            first = point.start_time.ToMicroseconds()
            value, sample = case.expected(events, first, first + LENGTHS[case.interval] * 1_000_000)
            assert point.value == pytest.approx(value, abs=1e-9)
            assert point.sample_size == sample
    assert not series.has_more_groups

    query.group_limit = 2
    fewer = asked.metrics.ReadMetric(metrics_pb2.ReadMetricRequest(query=query)).series
    assert list(fewer.groups) == list(series.groups)[:2]
    assert (fewer.has_more_groups, list(fewer.points)) == (True, list(series.points))


def test_what_is_wrong_with_a_break_down_is_told(service: Service) -> None:
    active = pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_DAY, page_size=5, page_token="x")
    assert set(refusal(lambda: service.events.GetActiveUsers(active)).fields) == {"page_size", "page_token"}
    active = pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_DAY, group_property="a..b", page_size=1_001)
    assert set(refusal(lambda: service.events.GetActiveUsers(active)).fields) == {
        "group_property",
        "page_size",
    }
    query = metrics_pb2.MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=RANGE, group_limit=3)
    refused = refusal(lambda: service.metrics.ReadMetric(metrics_pb2.ReadMetricRequest(query=query)))
    assert (refused.code, set(refused.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"query.group_limit"})


def test_metrics_say_whether_they_can_be_broken_down(service: Service) -> None:
    listed = service.metrics.ListMetrics(metrics_pb2.ListMetricsRequest()).metrics
    assert {metric.name for metric in listed if metric.has_break_down} >= {case.name for case in CASES}
    for metric in listed:
        query = metrics_pb2.MetricQuery(
            name=metric.name,
            labels=dict.fromkeys(metric.required_labels, "x"),
            interval=metric.intervals[0],
            time_range=RANGE,
            group_property="plan",
        )
        [result] = service.metrics.ReadMetrics(metrics_pb2.ReadMetricsRequest(queries=[query])).results
        assert result.HasField("error") == (not metric.has_break_down)
        if result.HasField("error"):
            assert f"{metric.name} cannot be broken down" in result.error.message
