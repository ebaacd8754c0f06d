"""What speaks against declaring a winner, and what to do next."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.experiments.stats.values import Undefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.experiments.domain import Experiment
    from services.experiments.results.report import MetricReport, Report, VariantReport


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason (for programs) and its words."""

    reason: str
    words: str


def objections(experiment: "Experiment", report: "Report", metric: str, variant: str) -> list[Objection]:
    """Return what speaks against declaring this variant the winner by this metric."""
    found = []
    if report.is_mismatched:
        found.append(Objection("SAMPLE_RATIO_MISMATCH", _mismatch(report)))
    for each in report.metrics:
        if variant in each.harmed:
            words = f"guardrail {each.metric.name} is worse than in the control"
            found.append(Objection("GUARDRAIL_HARMED", words))
    if not report.is_at_planned_sample and not _is_decisive(experiment, report.metric(metric), variant):
        found.append(Objection("NOT_DECISIVE", _undecided(experiment, report, metric)))
    return found


def _mismatch(report: "Report") -> str:
    return f"participants are not split as allocated (p = {_number(report.sample_ratio)})"


def _undecided(experiment: "Experiment", report: "Report", metric: str) -> str:
    planned = experiment.planned_sample
    of_sample = "no sample was planned"
    if planned is not None:
        of_sample = f"{report.participants:,} of {planned:,} planned participants take part"
    return f"{metric} is not decisive by the sequential method, and {of_sample}"


def _is_decisive(experiment: "Experiment", reported: "MetricReport", variant: str) -> bool:
    control, *treatments = reported.variants
    if variant == control.variant:
        return all(_is_significant(experiment, each) and each.worsens(reported.metric) for each in treatments)
    chosen = next(each for each in treatments if each.variant == variant)
    return _is_significant(experiment, chosen) and chosen.improves(reported.metric)


def _is_significant(experiment: "Experiment", reported: "VariantReport") -> bool:
    p_value = reported.adjusted_p_value
    return not isinstance(p_value, Undefined) and p_value <= 1 - experiment.confidence_level


def recommendation(experiment: "Experiment", report: "Report") -> str:
    """Return what to do, in a sentence with its reasons."""
    if experiment.winner is not None:
        return f"Nothing is left to do: {experiment.winner} was declared the winner."
    if report.participants == 0:
        return "Wait: nobody takes part yet."
    if report.is_mismatched:
        return f"Conclude nothing: {_mismatch(report)}; find out first what loses or adds them."
    reported = report.metric(experiment.primary.name)
    harmed = {name: each.metric.name for each in report.metrics for name in each.harmed}
    _, *treatments = reported.variants
    better = [
        each for each in treatments if _is_significant(experiment, each) and each.improves(reported.metric)
    ]
    unharmed = [each for each in better if each.variant not in harmed]
    if unharmed:
        return _ship(reported, unharmed)
    if better:
        name = better[0].variant
        return f"Do not ship {name}: {reported.metric.name} improves, but guardrail {harmed[name]} is harmed."
    return _without_winner(experiment, report, reported, harmed)


def _ship(reported: "MetricReport", candidates: "Sequence[VariantReport]") -> str:
    sign = -1 if reported.metric.decrease_is_better else 1

    def effect_of(each: "VariantReport") -> float:
        assert each.analysis is not None, "treatments are compared"
        effect = each.analysis.comparison.absolute_effect
        return 0.0 if isinstance(effect, Undefined) else sign * effect

    best = max(candidates, key=effect_of)
    assert best.analysis is not None, "treatments are compared"
    relative = best.analysis.comparison.relative_effect
    by = "" if isinstance(relative, Undefined) else f" by {abs(relative):.1%}"
    return (
        f"Ship {best.variant}: it improves {reported.metric.name}{by} "
        f"(adjusted p = {_number(best.adjusted_p_value)}) and harms no guardrail."
    )


def _without_winner(
    experiment: "Experiment", report: "Report", reported: "MetricReport", harmed: "dict[str, str]"
) -> str:
    control, *treatments = reported.variants
    worse = [
        each for each in treatments if _is_significant(experiment, each) and each.worsens(reported.metric)
    ]
    if len(worse) == len(treatments):
        return f"Keep {control.variant}: everything else makes {reported.metric.name} worse."
    if report.is_at_planned_sample:
        return f"Keep {control.variant}: the planned sample shows no improvement of {reported.metric.name}."
    also = ""
    if harmed:
        told = ", ".join(f"{name} harms {metric}" for name, metric in sorted(harmed.items()))
        also = f"; consider ending it, for {told}"
    return f"Keep running: {_undecided(experiment, report, reported.metric.name)}{also}."


def _number(value: float | Undefined) -> str:
    return value.reason if isinstance(value, Undefined) else f"{value:.2g}"
