"""How much one question may ask for: the limits of the contract, to the last one."""

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, Interval, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricRequest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.refusals import refusal
from tests.services.events.conftest import Service

MOST = 10_000
SECONDS = {INTERVAL_HOUR: 3_600, INTERVAL_DAY: 86_400}
both = pytest.mark.parametrize("interval", list(SECONDS))


def span(number: int, interval: Interval.ValueType) -> TimeRange:
    start = 1_009_843_200  # 2002-01-01
    end = start + number * SECONDS[interval]
    return TimeRange(start_time=Timestamp(seconds=start), end_time=Timestamp(seconds=end))


@both
def test_ten_thousand_counts_are_answered_and_one_more_is_not(
    service: Service, interval: Interval.ValueType
) -> None:
    def ask(number: int) -> int:
        request = pb.CountEventsRequest(interval=interval, time_range=span(number, interval))
        return len(service.events.CountEvents(request).counts)

    assert ask(MOST) == MOST
    assert "10,000" in refusal(lambda: ask(MOST + 1)).fields["time_range"]


@both
def test_ten_thousand_points_are_answered_and_one_more_is_not(
    service: Service, interval: Interval.ValueType
) -> None:
    def ask(number: int) -> int:
        query = MetricQuery(name="revenue", interval=interval, time_range=span(number, interval))
        return len(service.metrics.ReadMetric(ReadMetricRequest(query=query)).series.points)

    assert ask(MOST) == MOST
    assert "10,000" in refusal(lambda: ask(MOST + 1)).fields["query.time_range"]


def test_ten_thousand_periods_are_answered_and_one_more_is_not(service: Service) -> None:
    def ask(number: int) -> int:
        request = pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_DAY, time_range=span(number, INTERVAL_DAY))
        return len(service.events.GetActiveUsers(request).active_users)

    assert ask(MOST) == MOST
    assert "10,000" in refusal(lambda: ask(MOST + 1)).fields["time_range"]
