"""Questions that make no sense: each is refused, and every bad field named at once."""

import math

import grpc
import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    PROPERTY_OPERATOR_EQUALS,
    PROPERTY_OPERATOR_EXISTS,
    PROPERTY_OPERATOR_GREATER,
    PROPERTY_OPERATOR_IN,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import (
    MetricQuery,
    ReadMetricRequest,
    ReadMetricsRequest,
)
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.poison.calls import CALLS, DAY, at, changed, check


def user(name: str) -> pb.UserReference:
    return pb.UserReference(kind=pb.USER_KIND_USER, id=name)


ZONES = [
    "../etc/passwd",
    "/etc/localtime",
    "UTC\0",
    "\0",
    "Mars/Olympus",
    "europe/london",
    "+01:00",
    "x" * 10_000,
]

RANGED = ["QueryEvents", "ScanEvents", "CountEvents", "GetTopEvents", "GetActiveUsers", "ReadMetric"]


@pytest.mark.parametrize("name", CALLS)
def test_the_sensible_form_is_answered(service: Service, name: str) -> None:
    request, call = CALLS[name]
    call(service, request)


@pytest.mark.parametrize("name", ["ScanEvents", "CountEvents", "GetTopEvents", "ReadMetric"])
def test_a_range_is_required(service: Service, name: str) -> None:
    request = changed(name, time_range=None)
    refused = refusal(lambda: CALLS[name][1](service, request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert all("time_range" in field for field in refused.fields)
    assert refused.fields


@pytest.mark.parametrize("name", RANGED)
@pytest.mark.parametrize(
    ("span", "fields"),
    [
        (TimeRange(), ["time_range.start_time", "time_range.end_time"]),
        (TimeRange(start_time=at(2011)), ["time_range.end_time"]),
        (TimeRange(end_time=at(2011)), ["time_range.start_time"]),
        (TimeRange(start_time=at(2011), end_time=at(2010)), ["time_range.end_time"]),
        (TimeRange(start_time=at(2011), end_time=at(2011)), ["time_range.end_time"]),
        (TimeRange(start_time=at(1), end_time=at(9999)), ["time_range"]),
        (TimeRange(start_time=at(1), end_time=at(2011)), ["time_range"]),
        (TimeRange(start_time=at(2011), end_time=at(9999, 12, 31)), ["time_range"]),
        (
            TimeRange(start_time=Timestamp(seconds=-(2**62)), end_time=Timestamp(seconds=2**62)),
            ["time_range.start_time", "time_range.end_time"],
        ),
        (
            TimeRange(start_time=Timestamp(seconds=1, nanos=-1), end_time=Timestamp(seconds=1, nanos=10**9)),
            ["time_range.start_time", "time_range.end_time"],
        ),
    ],
    ids=["empty", "no end", "no start", "inverted", "nothing", "all", "early", "late", "beyond", "nanos"],
)
def test_ranges_without_sense(service: Service, name: str, span: TimeRange, fields: list[str]) -> None:
    check(service, name, changed(name, time_range=span), *fields)


@pytest.mark.parametrize("name", ["CountEvents", "GetActiveUsers", "ReadMetric"])
@pytest.mark.parametrize("zone", ZONES, ids=range(len(ZONES)))
def test_zones_that_are_none(service: Service, name: str, zone: str) -> None:
    check(service, name, changed(name, time_zone=zone), "time_zone")


@pytest.mark.parametrize(
    ("name", "changes", "fields"),
    [
        ("QueryEvents", {"page_size": -1}, ["page_size"]),
        ("QueryEvents", {"page_size": 1_001}, ["page_size"]),
        ("CountEvents", {"page_size": -(2**31)}, ["page_size"]),
        ("CountEvents", {"page_size": 1_001, "group_by": pb.COUNT_GROUP_USER}, ["page_size"]),
        ("GetTopEvents", {"limit": -1}, ["limit"]),
        ("GetTopEvents", {"limit": 2**31 - 1}, ["limit"]),
        ("ListMetrics", {"page_size": -1}, ["page_size"]),
        ("ListAuditEntries", {"page_size": -1}, ["page_size"]),
        ("QueryEvents", {"order": 99}, ["order"]),
        ("CountEvents", {"group_by": 99}, ["group_by"]),
        ("CountEvents", {"interval": 99}, ["interval"]),
        ("CountEvents", {"interval": -1}, ["interval"]),
        ("GetActiveUsers", {"period": 0}, ["period"]),
        ("GetActiveUsers", {"period": 99}, ["period"]),
        ("ReadMetric", {"interval": 0}, ["interval"]),
        ("ReadMetric", {"interval": 99}, ["interval"]),
        ("ReadMetric", {"interval": INTERVAL_HOUR}, ["interval"]),
        ("ReadMetric", {"labels": {"event": "e"}}, ["labels[event]"]),
        ("ReadMetric", {"name": "event_count"}, ["labels[event]"]),
        ("ReadMetric", {"name": "event_count", "labels": {"event": "\0"}}, ["labels[event]"]),
        ("QueryEvents", {"user_id": "\0"}, ["user_id"]),
        ("QueryEvents", {"anonymous_id": "x" * 201}, ["anonymous_id"]),
        ("QueryEvents", {"session_id": "x" * 201}, ["session_id"]),
        ("QueryEvents", {"category": "x" * 101}, ["category"]),
        ("GetTopEvents", {"category": "\0"}, ["category"]),
        ("QueryEvents", {"events": ["e"] * 101}, ["events"]),
        ("ScanEvents", {"events": []}, ["events"]),
        ("ScanEvents", {"events": ["e", "", "\0", "x" * 201]}, ["events[1]", "events[2]", "events[3]"]),
        ("ScanEvents", {"properties": ["p"] * 21}, ["properties"]),
        ("ScanEvents", {"user_keys": [1, 0]}, ["user_keys"]),
        ("ScanEvents", {"user_keys": [-5]}, ["user_keys"]),
        ("ScanEvents", {"user_keys": range(1, 1_002)}, ["user_keys"]),
        ("ScanEvents", {"properties": ["", "a..b", "x" * 201]}, [f"properties[{n}]" for n in range(3)]),
        ("CountEvents", {"group_property": "p"}, ["group_property"]),
        ("CountEvents", {"group_by": pb.COUNT_GROUP_PROPERTY}, ["group_property"]),
        (
            "CountEvents",
            {"group_by": pb.COUNT_GROUP_PROPERTY, "group_property": "a.b.c.d.e.f.g.h.i"},
            ["group_property"],
        ),
        ("GetActiveUsers", {"include_sessions": True, "known_only": True}, ["known_only"]),
        ("ResolveUsers", {"users": [pb.UserReference(id="a")]}, ["users[0].kind"]),
        ("ResolveUsers", {"users": [pb.UserReference(kind=99, id="a")]}, ["users[0].kind"]),  # type: ignore[arg-type]
        (
            "ResolveUsers",
            {"users": [user("ok"), user(""), user("\0"), user("x" * 201)]},
            ["users[1].id", "users[2].id", "users[3].id"],
        ),
        ("ResolveUsers", {"user_keys": range(10_001)}, ["users"]),
        ("ReadMetrics", {"queries": []}, ["queries"]),
        ("ReadMetrics", {"queries": [MetricQuery()] * 1_001}, ["queries"]),
    ],
)
def test_values_out_of_their_bounds(
    service: Service, name: str, changes: dict[str, object], fields: list[str]
) -> None:
    check(service, name, changed(name, **changes), *fields)


def condition(operator: int = PROPERTY_OPERATOR_EQUALS, path: str = "p", *values: Value) -> PropertyFilter:
    return PropertyFilter(property=path, operator=operator, values=values)  # type: ignore[arg-type]


TEXT, NUMBER = Value(string_value="x"), Value(number_value=1)
FILTERS: list[tuple[PropertyFilter, str]] = [
    (condition(0, "p", TEXT), "operator"),
    (condition(99, "p", TEXT), "operator"),
    (condition(PROPERTY_OPERATOR_EQUALS, "", TEXT), "property"),
    (condition(PROPERTY_OPERATOR_EQUALS, "a..b", TEXT), "property"),
    (condition(PROPERTY_OPERATOR_EQUALS, ".", TEXT), "property"),
    (condition(PROPERTY_OPERATOR_EQUALS, "\0", TEXT), "property"),
    (condition(PROPERTY_OPERATOR_EQUALS, "a.b.c.d.e.f.g.h.i", TEXT), "property"),
    (condition(PROPERTY_OPERATOR_EQUALS, "x" * 201, TEXT), "property"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p"), "values"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p", TEXT, TEXT), "values"),
    (condition(PROPERTY_OPERATOR_EXISTS, "p", TEXT), "values"),
    (condition(PROPERTY_OPERATOR_IN, "p"), "values"),
    (condition(PROPERTY_OPERATOR_IN, "p", *[NUMBER] * 1_001), "values"),
    (condition(PROPERTY_OPERATOR_GREATER, "p", TEXT), "values[0]"),
    (condition(PROPERTY_OPERATOR_GREATER, "p", Value(bool_value=True)), "values[0]"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p", Value(number_value=math.nan)), "values[0]"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p", Value(number_value=math.inf)), "values[0]"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p", Value(string_value="\0")), "values[0]"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p", Value(string_value="x" * 2_001)), "values[0]"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p", Value()), "values[0]"),
    (condition(PROPERTY_OPERATOR_EQUALS, "p", Value(struct_value=Struct())), "values[0]"),
]


@pytest.mark.parametrize("name", ["QueryEvents", "ScanEvents", "CountEvents", "GetActiveUsers", "ReadMetric"])
def test_conditions_without_sense(service: Service, name: str) -> None:
    for bad, field in FILTERS:
        sensible = condition(PROPERTY_OPERATOR_EQUALS, "p", TEXT)
        check(service, name, changed(name, filters=[sensible, bad]), f"filters[1].{field}")
    many = [condition(PROPERTY_OPERATOR_EQUALS, "p", TEXT)] * 21
    check(service, name, changed(name, filters=many), "filters")


def test_everything_that_is_wrong_is_told_at_once(service: Service) -> None:
    request = pb.CountEventsRequest(
        events=["", "ok"],
        category="x" * 101,
        filters=[condition(99, "", TEXT)],
        time_range=TimeRange(start_time=at(2011), end_time=at(2010)),
        time_zone="../etc/passwd",
        interval=99,  # type: ignore[arg-type]
        group_by=99,  # type: ignore[arg-type]
        group_property="p",
        page_size=-1,
        page_token="forged",
    )
    check(
        service,
        "CountEvents",
        request,
        "events[0]",
        "category",
        "filters[0].property",
        "filters[0].operator",
        "time_range.end_time",
        "time_zone",
        "interval",
        "group_by",
        "group_property",
        "page_size",
        "page_token",
    )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("event_cuont", "event_count"),
        ("mao", "mau"),
        ("", "revenue"),
        ("x" * 10_000, "revenue"),
        ("\0", "wau"),
    ],
    ids=range(5),
)
def test_an_unknown_metric_is_told_with_the_nearest(service: Service, name: str, nearest: str) -> None:
    query = MetricQuery(name=name, interval=INTERVAL_DAY, time_range=DAY)
    refused = refusal(lambda: service.metrics.ReadMetric(ReadMetricRequest(query=query)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "METRIC_UNKNOWN")
    assert nearest in refused.message.partition("; there is ")[2]


def test_bad_series_stand_in_their_place_and_spoil_no_other(service: Service) -> None:
    good = MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=DAY)
    bad = MetricQuery(name="dau", interval=INTERVAL_HOUR, time_zone="nowhere")
    unknown = MetricQuery(name="nothing", interval=INTERVAL_DAY, time_range=DAY)
    results = service.metrics.ReadMetrics(ReadMetricsRequest(queries=[good, bad, unknown, good])).results
    assert [each.WhichOneof("outcome") for each in results] == ["series", "error", "error", "series"]
    assert results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    [detail] = results[1].error.details
    found = error_details_pb2.BadRequest()
    assert detail.Unpack(found)
    assert {each.field for each in found.field_violations} == {
        "queries[1].interval",
        "queries[1].time_range",
        "queries[1].time_zone",
    }
    assert results[2].error.code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("day", [-(2**31), -1, 2**31 - 1])
def test_chunks_that_cannot_be_held_are_of_no_use_and_no_harm(service: Service, day: int) -> None:
    known = [pb.KnownChunk(event="stays", day=day, revision=2**64 - 1), pb.KnownChunk(event="\0", day=day)]
    request = pb.ScanEventsRequest(events=["stays"], time_range=DAY, known_chunks=known)
    assert list(service.events.ScanEvents(request)) == []
