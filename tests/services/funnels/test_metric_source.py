"""Funnels as metrics: the same numbers, a point for each interval by itself."""

from collections.abc import Mapping

from brain.common.v1 import common_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.metrics.v1 import metrics_pb2

from tests.refusals import refusal
from tests.services.funnels.asking import create, equals, event, span, steps, track, track_step
from tests.services.funnels.conftest import Service

A_DAY = 86_400


def read(service: Service, name: str, labels: Mapping[str, str], **more: object) -> metrics_pb2.MetricSeries:
    query = metrics_pb2.MetricQuery(
        name=name, labels=labels, interval=common_pb2.INTERVAL_DAY, time_range=span(0, 8 * A_DAY)
    )
    query.MergeFrom(metrics_pb2.MetricQuery(**more))  # type: ignore[arg-type]
    return service.metrics.ReadMetric(metrics_pb2.ReadMetricRequest(query=query)).series


def values(series: metrics_pb2.MetricSeries) -> list[float | None]:
    return [point.value if point.HasField("value") else None for point in series.points]


def people(service: Service) -> str:
    """Ann begins every day and buys on the second; bob begins on the second and views alone."""
    events = [event(day, "ann", "A", day * A_DAY, plan="pro") for day in range(3)]
    events += [event(10, "ann", "B", A_DAY + 60), event(11, "ann", "C", A_DAY + 120)]
    events += [event(12, "bob", "A", A_DAY, plan="free"), event(13, "bob", "B", A_DAY + 60)]
    track(service, events)
    return create(service)


def test_each_point_is_the_funnel_of_its_interval(service: Service) -> None:
    funnel = people(service)
    whole = read(service, "funnel_conversion_ratio", {"funnel_id": funnel})
    assert values(whole) == [0, 0.5, 0, None, None, None, None, None]
    assert [point.sample_size for point in whole.points][:4] == [1, 2, 1, 0]
    assert [point.complete for point in whole.points] == [True] * 7 + [False]
    step = read(service, "funnel_step_ratio", {"funnel_id": funnel, "step": "2"})
    assert values(step) == [None, 0.5, None, None, None, None, None, None]
    for index, point in enumerate(whole.points[:3]):
        asked = pb.GetFunnelConversionRequest(
            funnel_id=funnel, time_range=span(index * A_DAY, (index + 1) * A_DAY)
        )
        total = service.funnels.GetFunnelConversion(asked).total
        assert (total.conversion_ratio, total.starters) == (point.value, point.sample_size)


def test_filters_hold_for_the_events_of_all_steps(service: Service) -> None:
    funnel = people(service)
    found = read(service, "funnel_conversion_ratio", {"funnel_id": funnel}, filters=[equals("plan", "pro")])
    assert values(found)[:3] == [0, 0, 0]


def test_a_step_record_meets_no_filter_but_those_that_nothing_meets(service: Service) -> None:
    funnel = people(service)
    track_step(service, funnel, 2, "bob", A_DAY + 120)
    labels = {"funnel_id": funnel}
    free = read(service, "funnel_conversion_ratio", labels, filters=[equals("plan", "free")])
    assert values(free)[1] == 0
    other = equals("plan", "pro")
    other.operator = common_pb2.PROPERTY_OPERATOR_NOT_EQUALS
    assert values(read(service, "funnel_conversion_ratio", labels, filters=[other]))[1] == 1


def test_filters_of_query_and_steps_together_have_a_limit(service: Service) -> None:
    made = steps("AB")
    made[1].filters.extend([equals("plan", "pro")] * 19)
    labels = {"funnel_id": create(service, "", steps=made)}
    read(service, "funnel_conversion_ratio", labels, filters=[equals("plan", "pro")])
    two = [equals("plan", "pro")] * 2
    refused = refusal(lambda: read(service, "funnel_conversion_ratio", labels, filters=two))
    assert set(refused.fields) == {"query.filters"}


def test_bad_queries_name_their_fields(service: Service) -> None:
    funnel = people(service)
    for labels, field in (
        ({"funnel_id": funnel}, "labels[step]"),
        ({"funnel_id": funnel, "step": "x"}, "labels[step]"),
        ({"funnel_id": funnel, "step": "0"}, "labels[step]"),
        ({"funnel_id": funnel, "step": "3"}, "labels[step]"),
    ):
        refused = refusal(lambda asked=labels: read(service, "funnel_step_ratio", asked))  # type: ignore[misc]
        assert set(refused.fields) == {f"query.{field}"}
    refused = refusal(lambda: read(service, "funnel_conversion_ratio", {"funnel_id": "nobody"}))
    assert refused.reason == "FUNNEL_UNKNOWN"
    listed = service.metrics.ListMetrics(metrics_pb2.ListMetricsRequest()).metrics
    assert [each.name for each in listed] == ["funnel_conversion_ratio", "funnel_step_ratio"]
