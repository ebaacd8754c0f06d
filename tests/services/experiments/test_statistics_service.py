"""StatisticsService over the wire: what it answers, what it refuses."""

import grpc
import numpy as np
import pytest
from brain.experiments.v1 import statistics_pb2 as pb
from statsmodels.stats.proportion import proportions_ztest

from services.experiments.stats.cuped import adjusted
from services.experiments.stats.means import compare_means
from services.experiments.stats.moments import JointMoments, Moments
from services.experiments.stats.ratios import compare_ratios
from tests.refusals import refusal
from tests.services.experiments.conftest import Service


def moments_of(values: np.ndarray) -> pb.Moments:
    found = Moments.of(values)
    return pb.Moments(n=found.n, mean=found.mean, m2=found.m2)


def joint_of(x: np.ndarray, y: np.ndarray) -> pb.JointMoments:
    return pb.JointMoments(x=moments_of(x), y=moments_of(y), c=JointMoments.of(x, y).c)


def test_shares_are_compared(service: Service) -> None:
    request = pb.CompareProportionsRequest(
        control=pb.Proportion(participants=1_000, converted=100),
        treatment=pb.Proportion(participants=1_100, converted=150),
    )
    found = service.statistics.CompareProportions(request).comparison
    assert found.p_value == pytest.approx(proportions_ztest([150, 100], [1_100, 1_000])[1])
    assert found.confidence_reached == 0.95
    assert found.interval.lower < found.absolute_effect < found.interval.upper
    assert found.sequential.interval.lower < found.interval.lower
    assert found.sequential.p_value > found.p_value
    assert not found.absent_reasons


def test_less_may_be_better(service: Service) -> None:
    request = pb.CompareProportionsRequest(
        control=pb.Proportion(participants=1_000, converted=100),
        treatment=pb.Proportion(participants=1_000, converted=130),
    )
    more = service.statistics.CompareProportions(request).comparison
    request.choices.decrease_is_better = True
    less = service.statistics.CompareProportions(request).comparison
    assert more.chance_to_win_ratio + less.chance_to_win_ratio == pytest.approx(1)
    assert less.expected_loss == pytest.approx(0.03, abs=1e-3)
    values = np.random.default_rng(1).normal(5, 2, (2, 80))
    means = pb.CompareMeansRequest(control=moments_of(values[0]), treatment=moments_of(values[1]))
    up = service.statistics.CompareMeans(means).comparison
    means.choices.decrease_is_better = True
    down = service.statistics.CompareMeans(means).comparison
    assert up.chance_to_win_ratio + down.chance_to_win_ratio == pytest.approx(1)
    assert down.expected_loss - up.expected_loss == pytest.approx(up.absolute_effect)


def test_means_are_compared_with_and_without_covariates(service: Service) -> None:
    generator = np.random.default_rng(2)
    before = generator.gamma(2, 5, (2, 90))
    after = before + generator.normal(1, 2, (2, 90))
    request = pb.CompareMeansRequest(control=moments_of(after[0]), treatment=moments_of(after[1]))
    plain = service.statistics.CompareMeans(request).comparison
    assert plain.p_value == pytest.approx(
        compare_means(Moments.of(after[0]), Moments.of(after[1]), 0.95).p_value
    )
    joint = [JointMoments.of(before[side], after[side]) for side in (0, 1)]
    request.control_covariate.CopyFrom(pb.Covariate(moments=moments_of(before[0]), c=joint[0].c))
    refused = refusal(lambda: service.statistics.CompareMeans(request))
    assert refused.fields == {"treatment_covariate": "is required where the other variant has one"}
    request.treatment_covariate.CopyFrom(pb.Covariate(moments=moments_of(before[1]), c=joint[1].c))
    control, treatment = adjusted(joint)
    cuped = service.statistics.CompareMeans(request).comparison
    assert cuped.p_value == pytest.approx(compare_means(control, treatment, 0.95).p_value)
    assert cuped.standard_error < 0.6 * plain.standard_error


def test_ratios_are_compared(service: Service) -> None:
    generator = np.random.default_rng(3)
    orders = 1 + generator.poisson(2, (2, 70)).astype(np.float64)
    revenue = orders * generator.gamma(3, 10, (2, 70))
    request = pb.CompareRatiosRequest(
        control=joint_of(revenue[0], orders[0]), treatment=joint_of(revenue[1], orders[1])
    )
    found = service.statistics.CompareRatios(request).comparison
    reference = compare_ratios(
        JointMoments.of(revenue[0], orders[0]), JointMoments.of(revenue[1], orders[1]), 0.95
    )
    assert found.p_value == pytest.approx(reference.p_value)


def test_splits_are_checked(service: Service) -> None:
    # The published mismatch of test_checks_and_plans.py.
    broken = pb.CheckSampleRatioRequest(participants=[821_588, 815_482], expected=[50, 50])
    found = service.statistics.CheckSampleRatio(broken)
    assert found.mismatch
    assert found.p_value == pytest.approx(1.8e-6, abs=0.05e-6)
    few = service.statistics.CheckSampleRatio(
        pb.CheckSampleRatioRequest(participants=[2, 1], expected=[50, 50])
    )
    assert (few.HasField("p_value"), few.mismatch) == (False, False)
    assert "too few" in few.absent_reason


def test_samples_are_planned(service: Service) -> None:
    # R, ?power.prop.test: p1 = .50, p2 = .75, power = .90 needs 76.7.
    request = pb.PlanSampleSizeRequest(control_ratio=0.5, minimum_relative_effect=0.5, power_ratio=0.9)
    assert service.statistics.PlanSampleSize(request).participants_per_variant == 77
    mean = pb.PlanSampleSizeRequest(
        control_mean=pb.MeanBaseline(mean=20, standard_deviation=12), minimum_effect=1.5, power_ratio=0.9
    )
    assert service.statistics.PlanSampleSize(mean).participants_per_variant == 1_345


def test_p_values_are_adjusted(service: Service) -> None:
    request = pb.AdjustPValuesRequest(p_values=[0.01, 0.04, 0.03], adjustment=pb.ADJUSTMENT_HOLM)
    assert list(service.statistics.AdjustPValues(request).p_values) == pytest.approx([0.03, 0.06, 0.06])
    request.adjustment = pb.ADJUSTMENT_BENJAMINI_HOCHBERG
    assert list(service.statistics.AdjustPValues(request).p_values) == pytest.approx([0.03, 0.04, 0.04])


NAN, HUGE = float("nan"), 1e308
BAD = [
    ("CompareProportions", pb.CompareProportionsRequest(), {"control", "treatment"}),
    (
        "CompareProportions",
        pb.CompareProportionsRequest(
            control=pb.Proportion(participants=1, converted=2),
            treatment=pb.Proportion(participants=-1),
            choices=pb.ComparisonChoices(confidence_level=95, tuned_participants=-1),
        ),
        {"control", "treatment", "choices.confidence_level", "choices.tuned_participants"},
    ),
    (
        "CompareMeans",
        pb.CompareMeansRequest(control=pb.Moments(n=3, mean=NAN), treatment=pb.Moments(n=3, m2=-1)),
        {"control", "treatment"},
    ),
    (
        "CompareRatios",
        pb.CompareRatiosRequest(
            control=pb.JointMoments(x=pb.Moments(n=3), y=pb.Moments(n=2)),
            treatment=pb.JointMoments(c=NAN),
        ),
        {"control", "treatment"},
    ),
    (
        "CompareMeans",
        pb.CompareMeansRequest(control=pb.Moments(n=3, mean=HUGE), treatment=pb.Moments(n=3, m2=HUGE)),
        {"control", "treatment"},
    ),
    ("CheckSampleRatio", pb.CheckSampleRatioRequest(participants=[1]), {"participants", "expected"}),
    (
        "CheckSampleRatio",
        pb.CheckSampleRatioRequest(participants=[1, -1], expected=[NAN, 1]),
        {"participants", "expected"},
    ),
    ("PlanSampleSize", pb.PlanSampleSizeRequest(), {"control_ratio", "minimum_effect"}),
    (
        "PlanSampleSize",
        pb.PlanSampleSizeRequest(control_ratio=0.5, minimum_effect=0.6, power_ratio=2),
        {"minimum_effect", "power_ratio"},
    ),
    (
        "PlanSampleSize",
        pb.PlanSampleSizeRequest(
            control_mean=pb.MeanBaseline(mean=1, standard_deviation=HUGE), minimum_effect=1e-300
        ),
        {"minimum_effect"},
    ),
    ("PlanSampleSize", pb.PlanSampleSizeRequest(control_ratio=NAN, minimum_effect=0.1), {"control_ratio"}),
    ("AdjustPValues", pb.AdjustPValuesRequest(), {"p_values", "adjustment"}),
    (
        "AdjustPValues",
        pb.AdjustPValuesRequest(p_values=[0.5, NAN, 1.5], adjustment=pb.ADJUSTMENT_HOLM),
        {"p_values[1]", "p_values[2]"},
    ),
]


@pytest.mark.parametrize(("call", "request_", "fields"), BAD, ids=[each[0] for each in BAD])
def test_impossible_numbers_are_refused(
    call: str, request_: object, fields: set[str], service: Service
) -> None:
    refused = refusal(lambda: getattr(service.statistics, call)(request_))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert fields <= refused.fields.keys()
