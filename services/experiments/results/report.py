"""What may be concluded from an experiment's totals. Pure: the same totals give the same report for ever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from services.experiments.domain import CONTROL, Experiment, Metric, MetricKind
from services.experiments.results.totals import Sums, Totals
from services.experiments.stats import multiplicity, sample_ratio
from services.experiments.stats.analysis import (
    Analysis,
    Choices,
    analyse_means,
    analyse_proportions,
    analyse_ratios,
    analyse_with_covariate,
    with_enough_converted,
)
from services.experiments.stats.moments import JointMoments
from services.experiments.stats.power import detectable_effect, power_at
from services.experiments.stats.proportions import Proportion
from services.experiments.stats.values import Interval, Undefined, map_defined

# Changes with any number a change of the code makes different.
METHOD_VERSION = "2"
DEFAULT_TUNED_PARTICIPANTS = 5_000
_POWER = 0.8


class Lead(Enum):
    """Which method may be concluded from."""

    SEQUENTIAL = "sequential"
    FIXED_HORIZON = "fixed horizon"


@dataclass(frozen=True, slots=True)
class VariantReport:
    """One metric of one variant; without comparison for the control.

    Leading numbers are those of the method that may be concluded from at this moment.
    """

    variant: str
    participants: int
    sums: Sums
    moments: JointMoments
    value: float | Undefined
    analysis: Analysis | None
    leading_interval: Interval | Undefined
    leading_p_value: float | Undefined
    adjusted_p_value: float | Undefined
    power: float | Undefined
    detectable_effect: float | Undefined
    # What was before (x) with the value (y), where the comparison is made with it.
    covariate: JointMoments | None = None

    def improves(self, metric: Metric) -> bool:
        """Return whether the whole leading interval is on the good side."""
        return _on_side(self.leading_interval, above=not metric.decrease_is_better)

    def worsens(self, metric: Metric) -> bool:
        """Return whether the whole leading interval is on the bad side."""
        return _on_side(self.leading_interval, above=metric.decrease_is_better)


@dataclass(frozen=True, slots=True)
class MetricReport:
    """One metric of all variants."""

    metric: Metric
    variants: tuple[VariantReport, ...]
    # Where values were cut.
    cut: float | None = None

    @property
    def harmed(self) -> list[str]:
        """Return the variants that make a guardrail worse."""
        if not self.metric.guardrail:
            return []
        return [each.variant for each in self.variants[1:] if each.worsens(self.metric)]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about an experiment."""

    participants: int
    # By variant, as allocated when each participant came.
    expected: tuple[float, ...]
    sample_ratio: float | Undefined
    conflicting: int
    overridden: int
    lead: Lead
    metrics: tuple[MetricReport, ...]

    @property
    def is_at_planned_sample(self) -> bool:
        """Return whether one look, the last, may be concluded from."""
        return self.lead is Lead.FIXED_HORIZON

    @property
    def is_mismatched(self) -> bool:
        """Return whether participants are not split as allocated."""
        return not isinstance(self.sample_ratio, Undefined) and self.sample_ratio < sample_ratio.MISMATCH

    def metric(self, name: str) -> MetricReport:
        """Return the report of a metric that exists."""
        return next(each for each in self.metrics if each.metric.name == name)


def report(
    experiment: Experiment, totals: Totals, metrics: Sequence[Metric], lead: Lead | None = None
) -> Report:
    """Return the report on these metrics; the lead is told by the planned sample unless it is given."""
    variants = range(len(experiment.variants))
    counts = [totals.participants(variant) for variant in variants]
    planned = experiment.planned_sample
    is_reached = planned is not None and sum(counts) >= planned
    lead = lead or (Lead.FIXED_HORIZON if is_reached else Lead.SEQUENTIAL)
    unadjusted = [_metric_report(experiment, totals, metric, lead) for metric in metrics]
    expected = totals.expected(len(experiment.variants))
    return Report(
        participants=sum(counts),
        expected=tuple(expected),
        sample_ratio=sample_ratio.p_value(counts, expected)
        if sum(counts)
        else Undefined("nobody takes part yet"),
        conflicting=totals.conflicting,
        overridden=totals.overridden,
        lead=lead,
        metrics=_adjusted(unadjusted),
    )


def adjusted_together(reports: Sequence[Report]) -> list[Report]:
    """Return reports with p-values adjusted over all of them, as one family of questions."""
    together = iter(_adjusted([metric for each in reports for metric in each.metrics]))
    return [replace(each, metrics=tuple(next(together) for _ in each.metrics)) for each in reports]


def _metric_report(experiment: Experiment, totals: Totals, metric: Metric, lead: Lead) -> MetricReport:
    samples = [_sample(totals, metric, variant) for variant in range(len(experiment.variants))]
    return MetricReport(
        metric,
        tuple(
            _variant_report(experiment, metric, (samples[CONTROL], sample), variant, lead)
            for variant, sample in enumerate(samples)
        ),
        totals.shaped[metric.name].cut if metric.name in totals.shaped else None,
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    participants: int
    sums: Sums
    moments: JointMoments
    # What was before (x) with the value (y), where the metric asks for it.
    before: JointMoments | None = None

    @property
    def proportion(self) -> Proportion:
        return Proportion(self.participants, self.sums.converted)

    def value(self, kind: MetricKind) -> float | Undefined:
        if self.participants == 0:
            return Undefined("the variant has no participants")
        if kind is MetricKind.CONVERSION:
            return self.proportion.ratio
        if kind is MetricKind.VALUE:
            return self.moments.x.mean
        if self.moments.y.mean == 0:
            return Undefined("nobody converted")
        return self.moments.x.mean / self.moments.y.mean


def _sample(totals: Totals, metric: Metric, variant: int) -> _Sample:
    participants = totals.participants(variant)
    sums = totals.sums.get((metric.name, variant), Sums())
    shaped = totals.shaped.get(metric.name)
    if shaped is None:
        return _Sample(participants, sums, sums.moments(participants))
    before = shaped.with_before[variant] if metric.covariate_days is not None else None
    return _Sample(participants, sums, shaped.moments[variant], before)


def _variant_report(
    experiment: Experiment,
    metric: Metric,
    pair: tuple[_Sample, _Sample],
    variant: int,
    lead: Lead,
) -> VariantReport:
    control, sample = pair
    analysis = None if variant == CONTROL else _analyse(experiment, metric, control, sample)
    itself = Undefined("this is the control")
    interval, p_value = (itself, itself) if analysis is None else _leading(analysis, lead)
    return VariantReport(
        variant=experiment.variants[variant].name,
        participants=sample.participants,
        sums=sample.sums,
        moments=sample.moments,
        value=sample.value(metric.kind),
        analysis=analysis,
        leading_interval=interval,
        leading_p_value=p_value,
        adjusted_p_value=p_value,
        power=itself if analysis is None else _power(experiment, metric, control, analysis),
        detectable_effect=itself if analysis is None else _detectable(experiment, analysis),
        covariate=sample.before,
    )


def _analyse(experiment: Experiment, metric: Metric, control: _Sample, sample: _Sample) -> Analysis:
    tuned = DEFAULT_TUNED_PARTICIPANTS
    if experiment.planned_sample is not None:
        tuned = max(1, 2 * experiment.planned_sample // len(experiment.variants))
    choices = Choices(experiment.confidence_level, tuned, metric.decrease_is_better)
    if control.before is not None and sample.before is not None:
        analysis = analyse_with_covariate(control.before, sample.before, choices)
        if metric.kind is MetricKind.CONVERSION:
            return with_enough_converted(analysis, control.proportion, sample.proportion)
        return analysis
    if metric.kind is MetricKind.CONVERSION:
        return analyse_proportions(control.proportion, sample.proportion, choices)
    if metric.kind is MetricKind.VALUE:
        return analyse_means(control.moments.x, sample.moments.x, choices)
    return analyse_ratios(control.moments, sample.moments, choices)


def _leading(analysis: Analysis, lead: Lead) -> tuple[Interval | Undefined, float | Undefined]:
    if lead is Lead.FIXED_HORIZON:
        return analysis.comparison.interval, analysis.comparison.p_value
    return (
        map_defined(analysis.sequential, lambda found: found.interval),
        map_defined(analysis.sequential, lambda found: found.p_value),
    )


def _power(experiment: Experiment, metric: Metric, control: _Sample, analysis: Analysis) -> float | Undefined:
    relative, baseline = metric.minimum_relative_effect, control.value(metric.kind)
    if relative is None:
        return Undefined("the metric names no minimum_relative_effect")
    if isinstance(baseline, Undefined) or baseline == 0:
        return Undefined("the control's value is zero or absent")
    return map_defined(
        analysis.comparison.estimate,
        lambda found: power_at(relative * baseline, found.standard_error, experiment.confidence_level),
    )


def _detectable(experiment: Experiment, analysis: Analysis) -> float | Undefined:
    return map_defined(
        analysis.comparison.estimate,
        lambda found: detectable_effect(found.standard_error, experiment.confidence_level, _POWER),
    )


def _adjusted(reports: Sequence[MetricReport]) -> tuple[MetricReport, ...]:
    """Adjust p-values over all comparisons that may decide."""
    places = [
        (at, index, each.leading_p_value)
        for at, metric in enumerate(reports)
        if not metric.metric.guardrail
        for index, each in enumerate(metric.variants)
    ]
    defined = [(at, index, p) for at, index, p in places if not isinstance(p, Undefined)]
    adjusted = dict(
        zip(
            ((at, index) for at, index, _ in defined),
            multiplicity.holm([p for _, _, p in defined]),
            strict=True,
        )
    )
    return tuple(_with_adjusted(at, metric, adjusted) for at, metric in enumerate(reports))


def _with_adjusted(
    at: int, reported: MetricReport, adjusted: Mapping[tuple[int, int], float]
) -> MetricReport:
    guardrail = Undefined("guardrails are not adjusted")
    return replace(
        reported,
        variants=tuple(
            replace(
                each,
                adjusted_p_value=guardrail
                if reported.metric.guardrail
                else adjusted.get((at, index), each.leading_p_value),
            )
            for index, each in enumerate(reported.variants)
        ),
    )


def _on_side(interval: Interval | Undefined, *, above: bool) -> bool:
    if isinstance(interval, Undefined):
        return False
    return interval.lower > 0 if above else interval.upper < 0
