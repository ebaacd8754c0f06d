"""1, 1.0 and 1.00 are one value, for break-downs as for filters; "1.0" and [1.0] are others."""

from collections import Counter
from itertools import count

import numpy as np
import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, PROPERTY_OPERATOR_EQUALS, PropertyFilter, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.conversion_pb2 import GetConversionRateRequest
from brain.events.v1.retention_pb2 import GetRetentionRequest
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricRequest
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service
from tests.services.events.registering import fill, fold, is_served, mismatches, register

DAY = 1_320_969_600  # 2011-11-11
RANGE = TimeRange(start_time=Timestamp(seconds=DAY - 86_400), end_time=Timestamp(seconds=DAY))
WRITTEN = ("1", "1.0", "1.00", "10", "2.5", "2.50", "0", "0.0", "-0.0", '"1.0"', "[1.0]", "1e2", "100")
GROUPS = Counter({"1": 3, "10": 1, "2.5": 2, "0": 3, '"1.0"': 1, "[1.0]": 1, "100": 2})
numbers = count()


def send(service: Service) -> None:
    """Store an event of somebody else for each spelling."""
    request = pb.TrackEventsRequest()
    for written in WRITTEN:
        number = next(numbers)
        event = request.events.add(event_id=f"{number}", user_id=f"u{number}", session_id="s", event="paid")
        event.event_time.FromSeconds(DAY - 3_600)
        event.properties_json = f'{{"plan": {written}}}'
    assert service.events.TrackEvents(request).accepted == len(WRITTEN)


def groups(service: Service) -> list[Counter[str]]:
    """Return the groups of every question that breaks down, by what each counts."""
    counts = service.events.CountEvents(
        pb.CountEventsRequest(time_range=RANGE, group_by=pb.COUNT_GROUP_PROPERTY, group_property="plan")
    ).counts
    active = service.events.GetActiveUsers(
        pb.GetActiveUsersRequest(time_range=RANGE, period=pb.ACTIVE_PERIOD_DAY, group_property="plan")
    ).active_users
    query = MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=RANGE, group_property="plan")
    series = service.metrics.ReadMetric(ReadMetricRequest(query=query)).series
    conversion = service.events.GetConversionRate(
        GetConversionRateRequest(
            start_event="paid", end_event="paid", time_range=RANGE, group_property="plan"
        )
    )
    retention = service.events.GetRetention(
        GetRetentionRequest(interval=INTERVAL_DAY, time_range=RANGE, group_property="plan")
    )
    return [
        Counter({each.group: each.events for each in counts}),
        Counter({each.group: each.users for each in active}),
        Counter({each.group: int(each.points[0].value) for each in series.groups}),
        Counter({each.group: each.rate.starters for each in conversion.groups}),
        Counter({each.group: each.cohorts[0].size for each in retention.groups}),
    ]


def scanned(service: Service) -> Counter[str]:
    scan = pb.ScanEventsRequest(events=["paid"], time_range=RANGE, properties=["plan"])
    [chunk] = service.events.ScanEvents(scan)
    [column] = chunk.properties
    codes = np.frombuffer(column.codes, "<i4")
    return Counter(column.dictionary_json[code] for code in codes.tolist())


@pytest.mark.parametrize("registered", ["never", "before", "between", "after"])
def test_equal_numbers_are_one_group(by_hand: None, service: Service, registered: str) -> None:
    for moment in ("before", "between", "after"):
        if moment == registered:
            register(service, "plan")
            fill(service)
        if moment != "after":
            send(service)
        fold(service)
    twice = GROUPS + GROUPS
    assert is_served(service) == (registered != "never")
    assert groups(service) == [twice] * 5
    assert scanned(service) == twice
    assert mismatches(service, registered != "never") == []


def test_a_group_is_what_a_filter_on_its_value_finds(by_hand: None, service: Service) -> None:
    send(service)
    for group, number in (("1", 1.0), ("2.5", 2.5), ("0", 0.0), ("100", 100.0)):
        equal = PropertyFilter(
            property="plan", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(number_value=number)]
        )
        request = pb.CountEventsRequest(time_range=RANGE, filters=[equal])
        [found] = service.events.CountEvents(request).counts
        assert found.events == GROUPS[group]
