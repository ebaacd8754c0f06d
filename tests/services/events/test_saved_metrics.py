"""Points that callers save: read back, replaced, compared, audited, read as a metric."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_MONTH,
    PROPERTY_OPERATOR_EXISTS,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import saved_metrics_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricRequest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.shop.asking import stamp, time_range

DAILY, MONTHLY = pb.METRIC_PERIOD_DAILY, pb.METRIC_PERIOD_MONTHLY
FIRST = datetime(2011, 11, 1, tzinfo=UTC)


def point(day: int, value: float, **changes: object) -> pb.MetricPointToSave:
    message = pb.MetricPointToSave(
        name="nps", period=DAILY, point_time=stamp(FIRST + timedelta(days=day)), value=value
    )
    message.MergeFrom(pb.MetricPointToSave(**changes))  # type: ignore[arg-type]  # of the message's fields
    return message


def saved(service: Service, *points: pb.MetricPointToSave) -> tuple[int, int]:
    answer = service.events.SaveMetric(pb.SaveMetricRequest(points=points))
    return answer.created, answer.replaced


def listed(service: Service, **conditions: object) -> list[pb.SavedMetric]:
    request = pb.GetMetricsRequest(**conditions)  # type: ignore[arg-type]  # of the request's fields
    found: list[pb.SavedMetric] = []
    while True:
        answer = service.events.GetMetrics(request)
        found += answer.metrics
        if not answer.next_page_token:
            return found
        assert len(answer.metrics) == request.page_size
        request.page_token = answer.next_page_token


def test_a_point_comes_back_as_it_was_saved(service: Service, clock: Clock) -> None:
    assert saved(service, point(0, 41.5, target=50.0, metadata_json='{"by": "survey"}')) == (1, 0)
    [found] = listed(service)
    assert (found.name, found.period, found.point_time) == ("nps", DAILY, stamp(FIRST))
    assert (found.value, found.target, found.metadata_json) == (41.5, 50.0, '{"by": "survey"}')
    assert found.saved_time.ToMicroseconds() == clock.micros
    assert found.target_attainment_ratio == 41.5 / 50
    assert not found.HasField("change_ratio")
    assert found.change_absent_reason == "there is no previous value"


def test_saving_again_replaces_the_whole_point(service: Service) -> None:
    assert saved(service, point(0, 1, target=5.0, metadata_json="{}"), point(1, 2)) == (2, 0)
    assert saved(service, point(0, 3), point(2, 4)) == (1, 1)
    found = listed(service)
    assert [each.value for each in found] == [3, 2, 4]
    assert not found[0].HasField("target")
    assert found[0].metadata_json == ""
    assert found[0].target_absent_reason == "there is no target"


def test_change_is_from_the_point_before_it_of_that_name_and_period(service: Service) -> None:
    saved(service, point(0, 4), point(5, 6), point(1, 100, name="other"), point(1, 9, period=MONTHLY))
    saved(service, point(6, 0), point(7, 3))
    found = listed(service, name="nps", period=DAILY)
    assert [each.change_ratio for each in found if each.HasField("change_ratio")] == [0.5, -1]
    assert [each.change_absent_reason for each in found] == [
        "there is no previous value",
        "",
        "",
        "the previous value is 0",
    ]
    # What is outside of the range or on another page is still the point before.
    later = time_range(FIRST + timedelta(days=5), FIRST + timedelta(days=6))
    assert [each.change_ratio for each in listed(service, name="nps", time_range=later)] == [0.5]


def test_pages_hold_every_point_once_in_order(service: Service) -> None:
    points = [
        point(day, day, name=name, period=period)
        for name in ("b", "a", "ä")
        for period in (MONTHLY, DAILY)
        for day in range(3)
    ]
    saved(service, *points)
    whole = listed(service, page_size=500)
    assert [(each.name, each.period, each.value) for each in whole] == sorted(
        (each.name, each.period, each.value) for each in points
    )
    for size in (1, 4, 7):
        assert listed(service, page_size=size) == whole


def test_a_save_is_audited_once_for_each_name(service: Service) -> None:
    saved(service, point(0, 1), point(1, 1), point(0, 1, name="other"))
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    assert [(each.actor, each.action, each.subject, each.details["points"]) for each in entries[:2]] == [
        ("test", "SaveMetric", "other", 1),
        ("test", "SaveMetric", "nps", 2),
    ]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name": "x" * 201}, ["name"]),
        ({"name": "a\0"}, ["name"]),
        ({"period": 9}, ["period"]),
        ({"value": float("nan")}, ["value"]),
        ({"target": float("inf")}, ["target"]),
        ({"metadata_json": "[]"}, ["metadata_json"]),
        ({"metadata_json": "{"}, ["metadata_json"]),
        ({"metadata_json": "[" * 2_000}, ["metadata_json"]),
        ({"metadata_json": '{"a": "' + "ä" * 2_100 + '"}'}, ["metadata_json"]),
        ({"metadata_json": "\0"}, ["metadata_json"]),
        ({"point_time": Timestamp(seconds=-(10**12))}, ["point_time"]),
        ({"point_time": Timestamp(seconds=-100_000_000_0)}, ["point_time"]),
    ],
)
def test_a_bad_point_is_refused_and_spoils_its_batch(
    service: Service, changes: dict[str, object], fields: list[str]
) -> None:
    bad = point(1, 1)
    for field in changes:
        bad.ClearField(field)  # type: ignore[arg-type]  # a name of a field
    bad.MergeFrom(pb.MetricPointToSave(**changes))  # type: ignore[arg-type]  # of the message's fields
    refused = refusal(lambda: saved(service, point(0, 1), bad))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {f"points[1].{field}" for field in fields}
    assert listed(service) == []


def test_everything_missing_is_named_at_once(service: Service) -> None:
    refused = refusal(lambda: saved(service, pb.MetricPointToSave()))
    assert set(refused.fields) == {
        f"points[0].{field}" for field in ("name", "period", "point_time", "value")
    }
    assert set(refusal(lambda: saved(service)).fields) == {"points"}
    assert set(refusal(lambda: saved(service, *[point(0, 1)] * 501)).fields) == {"points"}
    assert set(refusal(lambda: saved(service, point(0, 1), point(0, 2))).fields) == {"points[1]"}


def test_a_listing_refuses_what_means_nothing(service: Service) -> None:
    request = pb.GetMetricsRequest(
        name="x" * 201,
        period=9,  # type: ignore[arg-type]  # not of the enum
        page_size=501,
        page_token="?",
        time_range=TimeRange(),
    )
    refused = refusal(lambda: service.events.GetMetrics(request))
    assert set(refused.fields) == {
        "name",
        "period",
        "page_size",
        "page_token",
        "time_range.start_time",
        "time_range.end_time",
    }


def test_saved_points_are_a_metric(service: Service) -> None:
    saved(
        service,
        point(0, 4),
        point(2, 5),
        point(2, 6, point_time=stamp(FIRST + timedelta(days=2, hours=1))),
        point(1, 9, period=MONTHLY),
    )

    def values(interval: int, **changes: object) -> list[tuple[float | None, int]]:
        query = MetricQuery(
            name="saved",
            labels={"name": "nps"},
            interval=interval,  # type: ignore[arg-type]  # a number of the enum
            time_range=time_range(FIRST, FIRST + timedelta(days=4)),
            **changes,  # type: ignore[arg-type]  # of the query's fields
        )
        points = service.metrics.ReadMetric(ReadMetricRequest(query=query)).series.points
        return [(each.value if each.HasField("value") else None, each.sample_size) for each in points]

    assert values(INTERVAL_DAY) == [(4, 1), (None, 0), (6, 2), (None, 0)]
    assert values(INTERVAL_MONTH) == [(9, 1)]
    assert values(INTERVAL_DAY, time_zone="America/New_York")[:2] == [(None, 0), (6, 2)]
    refused = refusal(
        lambda: values(
            INTERVAL_DAY, filters=[PropertyFilter(property="a", operator=PROPERTY_OPERATOR_EXISTS)]
        )
    )
    assert set(refused.fields) == {"query.filters"}
