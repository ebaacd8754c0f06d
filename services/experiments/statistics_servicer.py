"""StatisticsService: the statistics of experiments for anybody's aggregates."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from brain.experiments.v1 import statistics_pb2 as pb
from brain.experiments.v1.statistics_pb2_grpc import StatisticsServiceServicer

from services.experiments import comparisons
from services.experiments.stats import multiplicity, power, sample_ratio
from services.experiments.stats.analysis import (
    Analysis,
    Choices,
    analyse_means,
    analyse_proportions,
    analyse_ratios,
    analyse_with_covariate,
)
from services.experiments.stats.moments import JointMoments
from services.experiments.stats.values import Undefined
from shared.validation import Violations

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

Aggregate = TypeVar("Aggregate")

MAXIMUM_VARIANTS = 100
MAXIMUM_P_VALUES = 10_000
# A sample nobody will ever have; beyond it the plan says so.
MAXIMUM_PLANNED = 10**15


@dataclass(frozen=True)
class StatisticsServicer(StatisticsServiceServicer):
    """Keeps nothing."""

    def CompareProportions(
        self, request: pb.CompareProportionsRequest, context: "grpc.ServicerContext"
    ) -> pb.CompareProportionsResponse:
        """Compare shares."""
        compared = _compared(request, comparisons.proportion, analyse_proportions)
        return pb.CompareProportionsResponse(comparison=compared)

    def CompareMeans(
        self, request: pb.CompareMeansRequest, context: "grpc.ServicerContext"
    ) -> pb.CompareMeansResponse:
        """Compare means."""
        given = {name: request.HasField(name) for name in ("control_covariate", "treatment_covariate")}
        if all(given.values()):
            return pb.CompareMeansResponse(comparison=_compared_with_covariates(request))
        violations = Violations()
        if any(given.values()):
            [absent] = (name for name, is_given in given.items() if not is_given)
            violations.add(absent, "is required where the other variant has one")
        compared = _compared(request, comparisons.moments, analyse_means, violations)
        return pb.CompareMeansResponse(comparison=compared)

    def CompareRatios(
        self, request: pb.CompareRatiosRequest, context: "grpc.ServicerContext"
    ) -> pb.CompareRatiosResponse:
        """Compare ratios."""
        compared = _compared(request, comparisons.joint_moments, analyse_ratios)
        return pb.CompareRatiosResponse(comparison=compared)

    def CheckSampleRatio(
        self, request: pb.CheckSampleRatioRequest, context: "grpc.ServicerContext"
    ) -> pb.CheckSampleRatioResponse:
        """Compare a split with what was intended."""
        violations = Violations()
        if not 2 <= len(request.participants) <= MAXIMUM_VARIANTS:  # noqa: PLR2004 - a split has two parts
            violations.add("participants", f"2 to {MAXIMUM_VARIANTS} variants")
        if len(request.expected) != len(request.participants):
            violations.add("expected", "one for each variant")
        if not all(0 <= each < math.inf for each in request.expected) or not any(request.expected):
            violations.add("expected", "finite, at least 0, not all 0")
        if min(request.participants, default=0) < 0:
            violations.add("participants", "at least 0")
        violations.raise_if_any()
        p_value = sample_ratio.p_value(request.participants, request.expected)
        if isinstance(p_value, Undefined):
            return pb.CheckSampleRatioResponse(absent_reason=p_value.reason)
        return pb.CheckSampleRatioResponse(p_value=p_value, mismatch=p_value < sample_ratio.MISMATCH)

    def PlanSampleSize(
        self, request: pb.PlanSampleSizeRequest, context: "grpc.ServicerContext"
    ) -> pb.PlanSampleSizeResponse:
        """Say how many participants a test needs."""
        violations = Violations()
        level = comparisons.confidence_level(violations, "confidence_level", request.confidence_level)
        wanted = comparisons.share(violations, "power_ratio", request.power_ratio, 0.8)
        effect = _planned_effect(violations, request)
        baseline = request.WhichOneof("baseline")
        if baseline is None:
            violations.add("control_ratio", "this or control_mean is required")
        violations.raise_if_any()
        planned = _planned(request, baseline, effect, (level, wanted))
        return pb.PlanSampleSizeResponse(participants_per_variant=planned)

    def AdjustPValues(
        self, request: pb.AdjustPValuesRequest, context: "grpc.ServicerContext"
    ) -> pb.AdjustPValuesResponse:
        """Adjust p-values."""
        violations = Violations()
        methods = {
            pb.ADJUSTMENT_HOLM: multiplicity.holm,
            pb.ADJUSTMENT_BENJAMINI_HOCHBERG: multiplicity.benjamini_hochberg,
        }
        if request.adjustment not in methods:
            violations.add("adjustment", "must be HOLM or BENJAMINI_HOCHBERG")
        if not 1 <= len(request.p_values) <= MAXIMUM_P_VALUES:
            violations.add("p_values", f"1 to {MAXIMUM_P_VALUES:,}")
        for index, value in enumerate(request.p_values[:MAXIMUM_P_VALUES]):
            if not 0 <= value <= 1:
                violations.add(f"p_values[{index}]", "must lie from 0 to 1")
        violations.raise_if_any()
        return pb.AdjustPValuesResponse(p_values=methods[request.adjustment](request.p_values))


def _compared(
    request: "Any",  # noqa: ANN401 - one of three requests
    read: "Callable[[Violations, str, Any], Aggregate]",
    analyse: "Callable[[Aggregate, Aggregate, Choices], Analysis]",
    violations: Violations | None = None,
) -> pb.Comparison:
    """Compare two aggregates; raise InvalidArgument, with the violations that were found before."""
    violations = violations or Violations()
    control, treatment = (_required(violations, request, name, read) for name in ("control", "treatment"))
    choices = comparisons.choices(violations, request.choices)
    violations.raise_if_any()
    return comparisons.to_comparison(analyse(control, treatment, choices))


def _compared_with_covariates(request: pb.CompareMeansRequest) -> pb.Comparison:
    def read(violations: Violations, field: str, message: pb.Moments) -> JointMoments:
        value = comparisons.moments(violations, field, message)
        covariate = f"{field}_covariate"
        return comparisons.with_covariate(violations, covariate, value, getattr(request, covariate))

    return _compared(request, read, analyse_with_covariate)


def _required(
    violations: Violations,
    request: "Message",
    field: str,
    read: "Callable[[Violations, str, Any], Aggregate]",
) -> "Aggregate":
    if not request.HasField(field):
        violations.add(field, "is required")
    return read(violations, field, getattr(request, field))


def _planned_effect(violations: Violations, request: pb.PlanSampleSizeRequest) -> float:
    """Return the effect in the metric's unit."""
    chosen = request.WhichOneof("effect")
    baseline = request.control_mean.mean
    if request.WhichOneof("baseline") == "control_ratio":
        baseline = request.control_ratio
        if not 0 < baseline < 1:
            violations.add("control_ratio", "must lie between 0 and 1")
    elif request.HasField("control_mean"):
        deviation = request.control_mean.standard_deviation
        if not 0 < deviation < math.inf:
            violations.add("control_mean.standard_deviation", "must be finite and above 0")
        if not math.isfinite(baseline):
            violations.add("control_mean.mean", "must be finite")
    if chosen is None:
        violations.add("minimum_effect", "this or minimum_relative_effect is required")
        return 1.0
    relative = chosen == "minimum_relative_effect"
    effect = request.minimum_relative_effect * baseline if relative else request.minimum_effect
    if effect == 0 or not math.isfinite(effect):
        violations.add(chosen, "must be finite and make a difference")
    elif request.WhichOneof("baseline") == "control_ratio" and not 0 < baseline + effect < 1:
        violations.add(chosen, "must leave the treatment's share between 0 and 1")
    return effect


def _planned(
    request: pb.PlanSampleSizeRequest,
    baseline: Literal["control_ratio", "control_mean"] | None,
    effect: float,
    level_and_power: Sequence[float],
) -> int:
    level, wanted = level_and_power
    try:
        if baseline == "control_ratio":
            ratio = request.control_ratio
            return _at_most(power.participants_for_proportions(ratio, ratio + effect, level, wanted))
        deviation = request.control_mean.standard_deviation
        return _at_most(power.participants_for_means(deviation, effect, level, wanted))
    except (OverflowError, ZeroDivisionError, ValueError):  # an effect too small to be told from none
        return _at_most(MAXIMUM_PLANNED + 1)


def _at_most(participants: int) -> int:
    if participants > MAXIMUM_PLANNED:
        violations = Violations()
        violations.add("minimum_effect", "is so small that no sample would show it")
        violations.raise_if_any()
    return participants
