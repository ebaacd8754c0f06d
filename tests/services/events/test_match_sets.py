"""ScanEvents: events that say which sets of conditions they meet."""

import json
from itertools import product

import numpy as np
from brain.common.v1.common_pb2 import (
    PROPERTY_OPERATOR_EQUALS,
    PROPERTY_OPERATOR_GREATER,
    PropertyFilter,
)
from brain.events.v1 import events_pb2 as pb
from google.protobuf.struct_pb2 import Value

from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.scans import day_range, on_day, scan, track

PRO = PropertyFilter(property="plan", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="pro")])
MANY = PropertyFilter(property="seats", operator=PROPERTY_OPERATOR_GREATER, values=[Value(number_value=5)])


def test_each_event_tells_the_sets_it_meets(service: Service) -> None:
    kinds = list(product(["pro", "free", None], [9, 1, "9", None]))
    events = []
    for number, (plan, seats) in enumerate(kinds):
        properties = {name: value for name, value in (("plan", plan), ("seats", seats)) if value is not None}
        events.append(on_day(number, properties_json=json.dumps(properties)))
    track(service, [*events, on_day(100)])
    sets = [
        pb.MatchSet(filters=[PRO]),
        pb.MatchSet(),
        pb.MatchSet(filters=[MANY, PRO]),
        pb.MatchSet(filters=[MANY]),
    ]
    [found] = scan(service, time_range=day_range(), match_sets=sets)
    times = np.frombuffer(found.event_times, "<i8")
    matches = dict(zip(times.tolist(), np.frombuffer(found.matches, "<u8").tolist(), strict=True))
    for event, (plan, seats) in zip(events, kinds, strict=True):
        pro, many = plan == "pro", seats == 9
        expected = pro | 2 | (pro and many) << 2 | many << 3
        assert matches[event.event_time.ToMicroseconds()] == expected
    assert matches[on_day(100).event_time.ToMicroseconds()] == 2


def test_the_last_set_has_the_bit_of_its_place(service: Service) -> None:
    track(service, [on_day(1)])
    none = pb.MatchSet(filters=[PRO])
    [found] = scan(service, time_range=day_range(), match_sets=[*[none] * 62, pb.MatchSet()])
    assert np.frombuffer(found.matches, "<u8").tolist() == [1 << 62]


def test_conditions_and_their_number_are_checked(service: Service) -> None:
    bad = pb.MatchSet(filters=[PropertyFilter(property="plan")])
    found = refusal(lambda: scan(service, time_range=day_range(), match_sets=[pb.MatchSet(), bad]))
    assert set(found.fields) == {"match_sets[1].filters[0].operator", "match_sets[1].filters[0].values"}
    found = refusal(lambda: scan(service, time_range=day_range(), match_sets=[pb.MatchSet()] * 64))
    assert set(found.fields) == {"match_sets"}
