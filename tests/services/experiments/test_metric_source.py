"""Experiments as series of numbers."""

import grpc
import pytest
from brain.common.v1 import common_pb2
from brain.metrics.v1 import metrics_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.experiments.asking import assign_all, convert, create, results, start
from tests.services.experiments.conftest import Service

DAY = 86_400_000_000
MIDNIGHT = 1_321_056_000_000_000  # 2011-11-12
LABELS = {"experiment_id": "colour", "metric": "signup", "variant": "b"}


def stamp(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made


def query(name: str, **changes: object) -> pb.MetricQuery:
    span = common_pb2.TimeRange(start_time=stamp(MIDNIGHT), end_time=stamp(MIDNIGHT + 4 * DAY))
    asked = {"name": name, "interval": common_pb2.INTERVAL_DAY, "time_range": span, **changes}
    return pb.MetricQuery(**asked)  # type: ignore[arg-type]


def read(service: Service, name: str, **changes: object) -> list[pb.MetricPoint]:
    request = pb.ReadMetricRequest(query=query(name, **changes))
    return list(service.metrics.ReadMetric(request).series.points)


def test_series_are_what_results_said_each_evening(service: Service, clock: Clock) -> None:
    clock.micros = MIDNIGHT + DAY // 2
    create(service)
    start(service)
    effects, ratios = [], []
    for day in range(3):
        names = [f"u-{day}-{number}" for number in range(40)]
        assign_all(service, names)
        for name in names[: 5 * day]:
            convert(service, name, name)
        found = results(service)
        effects.append(found.metrics[0].variants[1].comparison.absolute_effect)
        ratios.append(found.sample_ratio.p_value)
        clock.micros += DAY
    joined = read(service, "experiment_participants")
    assert [(point.value, point.complete) for point in joined] == [
        (40, True), (40, True), (40, True), (0, False),
    ]  # fmt: skip
    effect = read(service, "experiment_effect", labels=LABELS)
    assert [point.value for point in effect] == pytest.approx([*effects, effects[-1]])
    assert [point.sample_size for point in effect] == [40, 80, 120, 120]
    split = read(service, "experiment_srm_p_value", labels={"experiment_id": "colour"})
    assert [point.value for point in split] == pytest.approx([*ratios, ratios[-1]])


def test_before_anybody_takes_part_there_is_no_value(service: Service) -> None:
    create(service)
    start(service)
    for name, labels in (
        ("experiment_effect", LABELS),
        ("experiment_srm_p_value", {"experiment_id": "colour"}),
    ):
        points = read(service, name, labels=labels)
        assert {(point.HasField("value"), bool(point.absent_reason)) for point in points} == {(False, True)}


def test_metrics_are_listed_by_name(service: Service) -> None:
    listed = service.metrics.ListMetrics(pb.ListMetricsRequest(page_size=2))
    rest = service.metrics.ListMetrics(pb.ListMetricsRequest(page_size=2, page_token=listed.next_page_token))
    assert [each.name for each in (*listed.metrics, *rest.metrics)] == [
        "experiment_effect", "experiment_participants", "experiment_srm_p_value",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": {}}, "query.labels[experiment_id]"),
        ({"labels": {**LABELS, "metric": "x"}}, "query.labels[metric]"),
        ({"labels": {**LABELS, "variant": "a"}}, "query.labels[variant]"),
        ({"labels": {**LABELS, "more": "x"}}, "query.labels[more]"),
        ({"interval": common_pb2.INTERVAL_HOUR}, "query.interval"),
        ({"interval": 99}, "query.interval"),
        ({"time_zone": "Mars"}, "query.time_zone"),
        ({"time_range": None}, "query.time_range"),
        (
            {
                "time_range": common_pb2.TimeRange(
                    start_time=Timestamp(), end_time=stamp(4_000_000_000_000_000)
                )
            },
            "query.time_range",
        ),
        ({"filters": [common_pb2.PropertyFilter(property="x")]}, "query.filters"),
    ],
)
def test_bad_questions_are_refused(changes: dict[str, object], field: str, service: Service) -> None:
    create(service)
    refused = refusal(lambda: read(service, "experiment_effect", **{"labels": LABELS, **changes}))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in refused.fields


def test_one_bad_series_spoils_no_other(service: Service) -> None:
    queries = [query("nothing"), query("experiment_participants"), query("experiment_effect", labels=LABELS)]
    bad, good, unknown = service.metrics.ReadMetrics(pb.ReadMetricsRequest(queries=queries)).results
    assert (bad.error.code, unknown.error.code) == (code_pb2.NOT_FOUND, code_pb2.NOT_FOUND)
    assert len(good.series.points) == 4
