"""Results against plain Python over everything that was tracked, and against statsmodels."""

import random
from collections import defaultdict
from statistics import fmean, variance

import grpc
import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1 import statistics_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from scipy.stats import chisquare, ttest_ind
from statsmodels.stats.proportion import proportions_ztest

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.experiments.asking import (
    REVENUE,
    SIGNUP,
    assign,
    assign_all,
    convert,
    convert_all,
    create,
    definition,
    person,
    results,
    start,
)
from tests.services.experiments.conftest import Service

PER_ORDER = pb.Metric(name="per_order", kind=pb.METRIC_KIND_RATIO)
LATENCY = pb.Metric(name="latency", kind=pb.METRIC_KIND_VALUE, guardrail=True, decrease_is_better=True)
DAY = 86_400_000_000


def tracked(
    service: Service, people: int, seed: int
) -> tuple[dict[str, str], dict[str, dict[str, list[float]]]]:
    """Assign and convert at random; return variants, and values by metric and person."""
    generator = random.Random(seed)
    variants = assign_all(service, [f"u-{number}" for number in range(people)])
    values: dict[str, dict[str, list[float]]] = {
        name: defaultdict(list) for name in ("signup", "revenue", "per_order")
    }
    conversions: list[pb.Conversion] = []
    for name in variants:
        for metric, found in values.items():
            for _ in range(generator.choice([0, 0, 1, 1, 2, 3])):
                amount = round(generator.expovariate(0.01), 2)
                found[name].append(amount)
                conversions.append(
                    pb.Conversion(
                        conversion_id=f"{len(conversions)}",
                        experiment_key="colour",
                        person=person(name),
                        metric=metric,
                        value=amount,
                    )
                )
    generator.shuffle(conversions)
    convert_all(service, conversions)
    return variants, values


def per_person(variants: dict[str, str], found: dict[str, list[float]], variant: str) -> list[list[float]]:
    return [found.get(name, []) for name, each in variants.items() if each == variant]


def check_sums(each: pb.VariantResult, people: list[list[float]]) -> None:
    """Compare with what each participant's conversions were worth."""
    assert each.participants == len(people)
    assert each.converted == sum(map(bool, people))
    assert each.conversions == sum(map(len, people))
    assert each.total_value == pytest.approx(sum(map(sum, people)))
    totals, counts = [sum(one) for one in people], [float(len(one)) for one in people]
    assert each.moments.x.m2 == pytest.approx(variance(totals) * (len(people) - 1))
    assert each.moments.y.m2 == pytest.approx(variance(counts) * (len(people) - 1))
    products = [one * other for one, other in zip(totals, counts, strict=True)]
    covariance = fmean(products) - fmean(totals) * fmean(counts)
    assert each.moments.c == pytest.approx(covariance * len(people))


@pytest.mark.parametrize("planned", [300, 10_000])
def test_results_are_what_plain_python_counts(planned: int, service: Service) -> None:
    metrics = [SIGNUP, REVENUE, PER_ORDER]
    create(service, what=definition(metrics=metrics, planned_sample=planned))
    start(service)
    variants, values = tracked(service, 400, seed=1)
    found = results(service)
    assert found.participants == 400
    for result in found.metrics:
        for each in result.variants:
            check_sums(each, per_person(variants, values[result.metric.name], each.variant))
    signup, revenue, per_order = ([each.value for each in one.variants] for one in found.metrics)
    by_variant = {name: [per_person(variants, values[name], variant) for variant in "ab"] for name in values}
    assert signup == pytest.approx([fmean(map(bool, people)) for people in by_variant["signup"]])
    assert revenue == pytest.approx([fmean(map(sum, people)) for people in by_variant["revenue"]])
    assert per_order == pytest.approx(
        [sum(map(sum, people)) / sum(map(len, people)) for people in by_variant["per_order"]]
    )
    treatments = [one.variants[1].comparison for one in found.metrics]
    if planned == 300:
        assert found.leading_method == pb.LEADING_METHOD_FIXED_HORIZON
        control, treatment = by_variant["signup"]
        counts_of = [sum(map(bool, people)) for people in (treatment, control)]
        _, p_value = proportions_ztest(counts_of, [len(treatment), len(control)])
        assert treatments[0].p_value == pytest.approx(p_value)
        welch = ttest_ind(
            *([sum(one) for one in people] for people in by_variant["revenue"]), equal_var=False
        )
        assert treatments[1].p_value == pytest.approx(welch.pvalue)
    else:
        assert found.leading_method == pb.LEADING_METHOD_SEQUENTIAL
        for comparison in treatments:
            assert not comparison.HasField("p_value")
            assert not comparison.HasField("interval")
            assert "400 of 10,000" in comparison.absent_reasons["p_value"]
            assert comparison.HasField("sequential")


def test_the_sample_ratio_follows_the_allocation_in_force(service: Service) -> None:
    create(service, what=definition(50, 50))
    start(service)
    first = assign_all(service, [f"early-{number}" for number in range(300)])
    allocation = [
        pb.VariantAllocation(variant="a", allocation_percent=90),
        pb.VariantAllocation(variant="b", allocation_percent=10),
    ]
    update = pb.UpdateExperimentRequest(experiment_key="colour", allocation=allocation)
    service.experiments.UpdateExperiment(update)
    second = assign_all(service, [f"late-{number}" for number in range(700)])
    found = results(service)
    everybody = [*first.values(), *second.values()]
    expected = [300 * 0.5 + 700 * 0.9, 300 * 0.5 + 700 * 0.1]
    reference = chisquare([everybody.count("a"), everybody.count("b")], expected).pvalue
    assert found.sample_ratio.p_value == pytest.approx(reference)
    assert not found.sample_ratio.mismatch
    participants = [each.participants for each in found.metrics[0].variants]
    again = statistics_pb2.CheckSampleRatioRequest(
        participants=participants, expected=found.expected_participants
    )
    assert service.statistics.CheckSampleRatio(again) == found.sample_ratio


def test_empty_variants_have_reasons_instead_of_numbers(service: Service) -> None:
    metrics = [SIGNUP, REVENUE, PER_ORDER]
    create(service, what=definition(100, 0, metrics=metrics, planned_sample=1))
    start(service)
    nobody = results(service)
    assert nobody.sample_ratio.absent_reason == "nobody takes part yet"
    assign(service, "ann")
    for result in results(service).metrics:
        control, empty = result.variants
        assert control.participants == 1
        assert empty.absent_reasons["value"] == "the variant has no participants"
        comparison = empty.comparison
        for field in ("p_value", "interval", "absolute_effect", "sequential"):
            assert not comparison.HasField(field), field
            assert comparison.absent_reasons[field]
        assert not empty.HasField("adjusted_p_value")


def test_nobody_converts_and_everybody_converts_have_no_p_value(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP], planned_sample=1))
    start(service)
    names = [f"u-{number}" for number in range(60)]
    assign_all(service, names)
    [result] = results(service).metrics
    assert result.variants[1].comparison.absent_reasons["p_value"]
    assert result.variants[1].comparison.absolute_effect == 0
    for name in names:
        convert(service, name, name)
    [result] = results(service).metrics
    assert result.variants[1].comparison.absent_reasons["p_value"]


def test_p_values_are_adjusted_over_variants_and_metrics_but_guardrails(service: Service) -> None:
    metrics = [SIGNUP, REVENUE, pb.Metric(name="per_order", kind=pb.METRIC_KIND_RATIO, guardrail=True)]
    create(service, what=definition(40, 30, 30, metrics=metrics, planned_sample=100))
    start(service)
    tracked(service, 600, seed=3)
    found = results(service)
    rows = [each for result in found.metrics[:2] for each in result.variants[1:]]
    ordered = sorted(rows, key=lambda each: each.comparison.p_value)
    worst = 0.0
    for rank, each in enumerate(ordered):
        worst = max(worst, min(1.0, each.comparison.p_value * (len(rows) - rank)))
        assert each.adjusted_p_value == pytest.approx(worst)
    guardrail = found.metrics[2].variants[1]
    assert guardrail.absent_reasons["adjusted_p_value"] == "guardrails are not adjusted"


def test_power_is_that_of_the_smallest_effect_worth_seeing(service: Service) -> None:
    wanted = pb.Metric(name="signup", kind=pb.METRIC_KIND_CONVERSION, minimum_relative_effect=0.2)
    create(service, what=definition(metrics=[wanted, REVENUE]))
    start(service)
    tracked_names = assign_all(service, [f"u-{number}" for number in range(500)])
    for name in list(tracked_names)[:200]:
        convert(service, name, name)
    signup, revenue = results(service).metrics
    assert 0.05 < signup.variants[1].power_ratio < 1
    # z of 0.975 and of 0.8, as tables print them.
    for each in (signup.variants[1], revenue.variants[1]):
        seen = (1.959964 + 0.841621) * each.comparison.standard_error
        if each.comparison.HasField("standard_error"):
            assert each.detectable_effect == pytest.approx(seen, rel=1e-6)
        else:
            assert each.absent_reasons["detectable_effect"]
    assert signup.variants[1].HasField("detectable_effect")
    assert "minimum_relative_effect" in revenue.variants[1].absent_reasons["power_ratio"]


def test_a_draft_has_no_results(service: Service) -> None:
    create(service)
    refused = refusal(lambda: results(service))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "EXPERIMENT_DRAFT")


def over_time(service: Service, metric: str = "", zone: str = "") -> pb.GetResultsOverTimeResponse:
    request = pb.GetResultsOverTimeRequest(experiment_key="colour", metric=metric, time_zone=zone)
    return service.experiments.GetResultsOverTime(request)


def test_results_over_time_are_those_of_each_evening(service: Service, clock: Clock) -> None:
    create(service, what=definition(metrics=[SIGNUP, REVENUE]))
    start(service)
    evenings = []
    for day in range(4):
        names = [f"u-{day}-{number}" for number in range(30)]
        assign_all(service, names)
        for name in names[: 10 * day]:
            convert(service, name, name, metric="revenue", value=float(day))
        evenings.append(results(service).metrics[1])
        clock.micros += DAY
    clock.micros -= DAY
    found = over_time(service, "revenue")
    assert found.time_zone == "UTC"
    assert [point.complete for point in found.points] == [True, True, True, False]
    for point, evening in zip(found.points, evenings, strict=True):
        counted = [(each.participants, each.converted, each.total_value) for each in point.variants]
        assert counted == [(each.participants, each.converted, each.total_value) for each in evening.variants]
        assert not point.variants[1].comparison.HasField("p_value")


def test_each_day_is_a_look_past_the_planned_sample_too(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP, REVENUE, PER_ORDER], planned_sample=100))
    start(service)
    tracked(service, 200, seed=4)
    now = results(service).metrics[0].variants[1].comparison
    [today] = over_time(service).points
    looked = today.variants[1]
    assert (now.HasField("p_value"), looked.comparison.HasField("p_value")) == (True, False)
    assert looked.adjusted_p_value == looked.comparison.sequential.p_value > now.p_value


@pytest.mark.parametrize(
    ("zone", "started", "ends"),
    [
        ("Asia/Kolkata", "2011-12-31T20:00:00Z", ["2012-01-01T18:30:00Z", "2012-01-02T18:30:00Z"]),
        ("Europe/London", "2012-03-24T12:00:00Z", ["2012-03-25T00:00:00Z", "2012-03-25T23:00:00Z"]),
        ("Australia/Lord_Howe", "2012-04-01T00:00:00Z", ["2012-04-01T13:30:00Z", "2012-04-02T13:30:00Z"]),
    ],
)
def test_days_are_those_of_the_zone(
    zone: str, started: str, ends: list[str], service: Service, clock: Clock
) -> None:
    begin, first, second = (Timestamp() for _ in range(3))
    for stamp, text in zip((begin, first, second), (started, *ends), strict=True):
        stamp.FromJsonString(text)
    clock.micros = begin.ToMicroseconds()
    create(service)
    start(service)
    clock.micros = second.ToMicroseconds() + 1
    points = over_time(service, zone=zone).points
    assert [point.end_time for point in points[:2]] == [first, second]
    assert len(points) == 3


@pytest.mark.parametrize(("metric", "zone", "field"), [("x", "", "metric"), ("", "Mars", "time_zone")])
def test_bad_questions_over_time_are_refused(metric: str, zone: str, field: str, service: Service) -> None:
    create(service)
    start(service)
    assert field in refusal(lambda: over_time(service, metric, zone)).fields
