"""Experiments as their tab shows them: the list, and what came of one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.experiments.v1 import experiments_pb2 as pb

from gateway.dashboard.experiments.effects import (
    SEQUENTIAL,
    MetricTable,
    leading_interval,
    leading_p_value,
    metric_table,
)
from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, tzinfo

    from gateway.dashboard.page.csv_files import Cell

CSV_HEADER: Final = (
    "metric",
    "variant",
    "participants",
    "converted",
    "conversions",
    "total_value",
    "value",
    "absolute_effect",
    "interval_lower",
    "interval_upper",
    "p_value",
    "adjusted_p_value",
    "chance_to_win_ratio",
    "method",
)
_STATUSES: Final = {
    pb.EXPERIMENT_STATUS_DRAFT: "draft",
    pb.EXPERIMENT_STATUS_RUNNING: "running",
    pb.EXPERIMENT_STATUS_PAUSED: "paused",
    pb.EXPERIMENT_STATUS_COMPLETED: "completed",
}
# Which steps of life lie open, in the words of the buttons.
_STEPS: Final = {
    "draft": ("start",),
    "running": ("pause", "complete"),
    "paused": ("start", "complete"),
    "completed": (),
}
_SHORT_POWER: Final = 0.8
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Listed:
    """An experiment in the list."""

    key: str
    name: str
    status: str
    # Days from the start to now or to the end; empty before.
    days: str
    participants: str
    split: str
    winner: str


@dataclass(frozen=True, slots=True)
class Banner:
    """Something to know before reading numbers; `bad` where they must not be trusted."""

    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision in the log."""

    time: str
    exact_time: str
    variant: str
    metric: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """One experiment, before its results."""

    listed: Listed
    hypothesis: str
    variants: tuple[str, ...]
    metrics: tuple[str, ...]
    steps: tuple[str, ...]
    is_draft: bool
    # What may be looked at more closely: any metric, by attributes that are kept.
    measured: tuple[str, ...]
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    recommendation: str
    banners: tuple[Banner, ...]
    tables: tuple[MetricTable, ...]


def listed(experiment: pb.Experiment, now: "datetime") -> Listed:
    """Return a line of the list."""
    variants = experiment.definition.variants
    return Listed(
        key=experiment.key,
        name=experiment.definition.name,
        status=_STATUSES.get(experiment.status, "unknown"),
        days=_days(experiment, now),
        participants=formats.whole(experiment.participants) if experiment.HasField("participants") else "",
        split=" / ".join(f"{each.name} {each.allocation_percent:g} %" for each in variants),
        winner=experiment.winner,
    )


def _days(experiment: pb.Experiment, now: "datetime") -> str:
    if not experiment.HasField("started_time"):
        return formats.NOTHING
    ended = experiment.completed_time if experiment.HasField("completed_time") else None
    until = formats.moment(ended) if ended else now
    seconds = (until - formats.moment(experiment.started_time)).total_seconds()
    return formats.whole(max(0, seconds // _DAY_SECONDS))


def first(experiments: "Sequence[pb.Experiment]") -> str:
    """Return the key of what is worth a look where nothing was chosen: what runs, else what is there."""
    running = [each.key for each in experiments if each.status == pb.EXPERIMENT_STATUS_RUNNING]
    return next(iter([*running, *(each.key for each in experiments)]), "")


def chosen(experiment: pb.Experiment, now: "datetime") -> Chosen:
    """Return one experiment."""
    line = listed(experiment, now)
    definition = experiment.definition
    return Chosen(
        listed=line,
        hypothesis=definition.hypothesis,
        variants=tuple(each.name for each in definition.variants),
        metrics=tuple(each.name for each in definition.metrics if not each.guardrail),
        steps=_STEPS.get(line.status, ()),
        is_draft=line.status == "draft",
        measured=tuple(each.name for each in definition.metrics),
        attributes=tuple(definition.break_down_attributes),
    )


def found(experiment: pb.Experiment, results: pb.Results) -> Found:
    """Return what came of an experiment."""
    fixed = results.leading_method == pb.LEADING_METHOD_FIXED_HORIZON
    return Found(
        recommendation=results.recommendation,
        banners=tuple(_banners(experiment, results)),
        tables=tuple(metric_table(each, fixed=fixed) for each in results.metrics),
    )


@dataclass(frozen=True, slots=True)
class Segment:
    """One metric of those who had one value of an attribute."""

    value: str
    table: MetricTable


def segments(found: pb.GetResultsResponse, metric: str) -> tuple[Segment, ...]:
    """Return what came of a metric by the values of an attribute."""
    return tuple(
        Segment(
            each.value if each.HasField("value") else "without a value",
            metric_table(result, fixed=each.results.leading_method == pb.LEADING_METHOD_FIXED_HORIZON),
        )
        for each in found.segments
        for result in each.results.metrics
        if result.metric.name == metric
    )


def _banners(experiment: pb.Experiment, results: pb.Results) -> "Iterable[Banner]":
    ratio = results.sample_ratio
    if ratio.mismatch:
        yield Banner(
            f"Participants are not split as allocated (p = {formats.probability(ratio.p_value)}): "
            "something loses or adds people of one variant, so no number below can be trusted.",
            bad=True,
        )
    if results.conflicting_people:
        yield Banner(f"{formats.whole(results.conflicting_people)} people saw two variants and are left out.")
    if results.overridden_people:
        yield Banner(f"{formats.whole(results.overridden_people)} people with an override are left out.")
    if results.leading_method == pb.LEADING_METHOD_SEQUENTIAL and not experiment.winner:
        why = _why_sequential(experiment, results)
        yield Banner(f"{why} Intervals and p-values hold however often you look.")
    short = [each.metric.name for each in results.metrics if _is_short(each)]
    if short:
        yield Banner(
            f"Power is short for {', '.join(short)}: the smallest effect worth seeing would be missed "
            f"more than one time in {round(1 / (1 - _SHORT_POWER))}."
        )


def _why_sequential(experiment: pb.Experiment, results: pb.Results) -> str:
    definition = experiment.definition
    if not definition.HasField("planned_sample"):
        return "No sample was planned."
    planned, reached = formats.whole(definition.planned_sample), formats.whole(results.participants)
    return f"{reached} of {planned} planned participants take part."


def _is_short(metric: pb.MetricResult) -> bool:
    known = [each.power_ratio for each in metric.variants if each.HasField("power_ratio")]
    return bool(known) and min(known) < _SHORT_POWER


def decided(decision: pb.Decision, zone: "tzinfo") -> Decided:
    """Return a line of the log."""
    when = formats.moment(decision.decided_time)
    against = "; ".join(each.partition(": ")[2] for each in decision.objections)
    return Decided(
        time=formats.time_of(when, zone),
        exact_time=formats.exact_time(when, zone),
        variant=decision.variant,
        metric=decision.metric,
        who=decision.decided_by,
        why=f"“{decision.override_reason}”, although {against}" if against else "without objections",
    )


def exported(results: pb.Results) -> "Iterable[Sequence[Cell]]":
    """Yield a row for each metric and variant."""
    fixed = results.leading_method == pb.LEADING_METHOD_FIXED_HORIZON
    for metric in results.metrics:
        for each in metric.variants:
            yield _row(metric.metric.name, each, fixed=fixed)


def _row(metric: str, result: pb.VariantResult, *, fixed: bool) -> "Sequence[Cell]":
    comparison = result.comparison
    interval = leading_interval(comparison, fixed=fixed)
    known: Mapping[str, Cell] = {
        field.name: value for field, value in comparison.ListFields() if isinstance(value, float)
    }
    return (
        metric,
        result.variant,
        result.participants,
        result.converted,
        result.conversions,
        result.total_value,
        result.value if result.HasField("value") else None,
        known.get("absolute_effect"),
        interval.lower if interval else None,
        interval.upper if interval else None,
        leading_p_value(comparison, fixed=fixed),
        result.adjusted_p_value if result.HasField("adjusted_p_value") else None,
        known.get("chance_to_win_ratio"),
        comparison.method if fixed else SEQUENTIAL,
    )
