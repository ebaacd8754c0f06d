"""Reports as messages."""

from typing import TYPE_CHECKING

from brain.common.v1 import common_pb2
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1 import statistics_pb2

from services.experiments.comparisons import put, to_comparison
from services.experiments.domain import VALUE_SCALE, Experiment, Metric, MetricKind
from services.experiments.results.judging import recommendation
from services.experiments.results.report import METHOD_VERSION, MetricReport, Report, VariantReport
from services.experiments.stats.analysis import confidence_reached
from services.experiments.stats.values import Undefined, map_defined
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from services.experiments.stats.moments import JointMoments, Moments

_KINDS = {
    MetricKind.CONVERSION: pb.METRIC_KIND_CONVERSION,
    MetricKind.VALUE: pb.METRIC_KIND_VALUE,
    MetricKind.RATIO: pb.METRIC_KIND_RATIO,
}


def to_results(experiment: Experiment, report: Report, now: int) -> pb.Results:
    """Return a report as a message."""
    lead = pb.LEADING_METHOD_FIXED_HORIZON if report.is_at_planned_sample else pb.LEADING_METHOD_SEQUENTIAL
    withheld = None if report.is_at_planned_sample else _withheld(experiment, report.participants)
    return pb.Results(
        read_time=from_micros(now),
        participants=report.participants,
        sample_ratio=_sample_ratio(report),
        conflicting_people=report.conflicting,
        overridden_people=report.overridden,
        leading_method=lead,
        metrics=[_metric_result(each, withheld) for each in report.metrics],
        recommendation=recommendation(experiment, report),
        method_version=METHOD_VERSION,
        expected_participants=report.expected,
    )


def _withheld(experiment: Experiment, participants: int) -> str:
    if experiment.planned_sample is None:
        return "no sample was planned; whoever looks more than once needs the sequential interval"
    return f"the planned sample is not reached: {participants:,} of {experiment.planned_sample:,}"


def _sample_ratio(report: Report) -> statistics_pb2.CheckSampleRatioResponse:
    if isinstance(report.sample_ratio, Undefined):
        return statistics_pb2.CheckSampleRatioResponse(absent_reason=report.sample_ratio.reason)
    return statistics_pb2.CheckSampleRatioResponse(p_value=report.sample_ratio, mismatch=report.is_mismatched)


def _metric_result(report: MetricReport, withheld: str | None) -> pb.MetricResult:
    return pb.MetricResult(
        metric=_metric(report.metric),
        variants=[to_variant_result(each, withheld) for each in report.variants],
        harmed_variants=report.harmed,
        winsorized_at=report.cut,
    )


def to_variant_result(report: VariantReport, withheld: str | None) -> pb.VariantResult:
    """Return one variant; numbers for one look are absent for the reason `withheld`, if there is one."""
    message = pb.VariantResult(
        variant=report.variant,
        participants=report.participants,
        converted=report.sums.converted,
        conversions=report.sums.conversions,
        total_value=report.sums.total / VALUE_SCALE,
        moments=_joint(report.moments),
    )
    if report.covariate is not None:
        covariate = statistics_pb2.Covariate(moments=_moments(report.covariate.x), c=report.covariate.c)
        message.covariate.CopyFrom(covariate)
    nobody = Undefined("the variant has no participants")
    ratio = report.sums.converted / report.participants if report.participants else nobody
    put(message, "conversion_ratio", ratio)
    put(message, "value", report.value)
    if report.analysis is not None:
        put(message, "adjusted_p_value", report.adjusted_p_value)
        put(message, "power_ratio", report.power)
        put(message, "detectable_effect", report.detectable_effect)
        comparison = to_comparison(report.analysis)
        if withheld is not None:
            _withhold(comparison, withheld)
        comparison.ClearField("confidence_reached")
        comparison.absent_reasons.pop("confidence_reached", None)
        put(comparison, "confidence_reached", map_defined(report.leading_p_value, confidence_reached))
        message.comparison.CopyFrom(comparison)
    return message


def _withhold(comparison: statistics_pb2.Comparison, reason: str) -> None:
    """Take away what only one look may rest on."""
    comparison.ClearField("interval")
    comparison.ClearField("relative_interval")
    comparison.ClearField("p_value")
    for field in ("interval", "relative_interval", "p_value"):
        comparison.absent_reasons[field] = reason


def _joint(moments: "JointMoments") -> statistics_pb2.JointMoments:
    return statistics_pb2.JointMoments(x=_moments(moments.x), y=_moments(moments.y), c=moments.c)


def _moments(moments: "Moments") -> statistics_pb2.Moments:
    return statistics_pb2.Moments(n=moments.n, mean=moments.mean, m2=moments.m2)


def _metric(metric: Metric) -> pb.Metric:
    made = pb.Metric(
        name=metric.name,
        kind=_KINDS[metric.kind],
        decrease_is_better=metric.decrease_is_better,
        guardrail=metric.guardrail,
        allow_negative=metric.allow_negative,
        minimum_relative_effect=metric.minimum_relative_effect,
        winsorized_quantile=metric.winsorized_quantile,
        covariate_days=metric.covariate_days,
    )
    if metric.feed is not None:
        made.feed.event = metric.feed.event
        made.feed.filters.extend(map(common_pb2.PropertyFilter.FromString, metric.feed.filters))
    return made
