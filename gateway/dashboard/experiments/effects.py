"""The table of a metric: a row for each variant, its effect as a point and an interval around 0."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.experiments.v1 import experiments_pb2 as pb

from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.experiments.v1 import statistics_pb2

SEQUENTIAL: Final = "asymptotic confidence sequence"
_UNITS: Final = {
    pb.METRIC_KIND_CONVERSION: "share of participants who converted",
    pb.METRIC_KIND_VALUE: "value per participant",
    pb.METRIC_KIND_RATIO: "value per conversion",
}
# The widest interval takes this much of either half.
_HALF: Final = 46.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """An interval and its point in percent of the width, 0 in the middle."""

    low: float
    point: float
    high: float


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant. Texts say what is absent, `reason` why."""

    name: str
    participants: str
    value: str
    value_detail: str
    effect: str = ""
    interval: str = ""
    drawn: Drawn | None = None
    # "better", "worse", "unclear"; empty for the control.
    verdict: str = ""
    chance: str = ""
    p_value: str = ""
    p_detail: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MetricTable:
    """One metric of all variants."""

    name: str
    unit: str
    method: str
    guardrail: bool
    harmed: str
    goal: str
    rows: tuple[VariantRow, ...]


def metric_table(result: pb.MetricResult, *, fixed: bool) -> MetricTable:
    """Return the table of a metric; `fixed` where the planned sample is reached."""
    metric = result.metric
    bounds = [abs(end) for each in result.variants for end in _ends(each.comparison, fixed=fixed)]
    reach = max(bounds, default=0.0)
    methods = [each.comparison.method for each in result.variants if each.HasField("comparison")]
    return MetricTable(
        name=metric.name,
        unit=_UNITS.get(metric.kind, ""),
        method=next(iter(methods), "") if fixed else SEQUENTIAL,
        guardrail=metric.guardrail,
        harmed=", ".join(result.harmed_variants),
        goal="less is better" if metric.decrease_is_better else "more is better",
        rows=tuple(_row(each, metric, reach, fixed=fixed) for each in result.variants),
    )


def leading_interval(
    comparison: "statistics_pb2.Comparison", *, fixed: bool
) -> "statistics_pb2.Interval | None":
    """Return the interval that may be concluded from."""
    if fixed:
        return comparison.interval if comparison.HasField("interval") else None
    return comparison.sequential.interval if comparison.HasField("sequential") else None


def _ends(comparison: "statistics_pb2.Comparison", *, fixed: bool) -> "Sequence[float]":
    found = leading_interval(comparison, fixed=fixed)
    return () if found is None else (found.lower, found.upper)


def _row(result: pb.VariantResult, metric: pb.Metric, reach: float, *, fixed: bool) -> VariantRow:
    is_share = metric.kind == pb.METRIC_KIND_CONVERSION
    value = _value(result, is_share=is_share)
    detail = f"{formats.whole(result.converted)} converted, {formats.whole(result.conversions)} conversions"
    participants = formats.whole(result.participants)
    if not result.HasField("comparison"):
        return VariantRow(result.variant, participants, value, detail, effect="control")
    comparison = result.comparison
    interval = leading_interval(comparison, fixed=fixed)
    p_value = leading_p_value(comparison, fixed=fixed)
    adjusted = (
        f"after Holm's adjustment {formats.probability(result.adjusted_p_value)}"
        if result.HasField("adjusted_p_value")
        else result.absent_reasons.get("adjusted_p_value", "")
    )
    chance = comparison.HasField("chance_to_win_ratio")
    return VariantRow(
        name=result.variant,
        participants=participants,
        value=value,
        value_detail=detail,
        effect=_effect(comparison, is_share=is_share),
        interval=_spelled(interval, is_share=is_share),
        drawn=_drawn(comparison, interval, reach),
        verdict=_verdict(interval, metric),
        chance=formats.percent(comparison.chance_to_win_ratio) if chance else formats.NOTHING,
        p_value=formats.NOTHING if p_value is None else formats.probability(p_value),
        p_detail=adjusted,
        reason="" if interval else _reason(comparison, fixed=fixed),
    )


def _value(result: pb.VariantResult, *, is_share: bool) -> str:
    if not result.HasField("value"):
        return formats.NOTHING
    return formats.percent(result.value) if is_share else formats.significant(result.value)


def leading_p_value(comparison: "statistics_pb2.Comparison", *, fixed: bool) -> float | None:
    """Return the p-value that may be concluded from."""
    if fixed:
        return comparison.p_value if comparison.HasField("p_value") else None
    return comparison.sequential.p_value if comparison.HasField("sequential") else None


def _effect(comparison: "statistics_pb2.Comparison", *, is_share: bool) -> str:
    if not comparison.HasField("absolute_effect"):
        return formats.NOTHING
    absolute = _signed(comparison.absolute_effect, is_share=is_share)
    if not comparison.HasField("relative_effect"):
        return absolute
    return f"{formats.signed_percent(comparison.relative_effect)} ({absolute})"


def _signed(number: float, *, is_share: bool) -> str:
    scaled = number * 100 if is_share else number
    sign = "+" if scaled > 0 else formats.MINUS if scaled < 0 else "±"
    return f"{sign}{formats.significant(abs(scaled))}{' points' if is_share else ''}"


def _spelled(interval: "statistics_pb2.Interval | None", *, is_share: bool) -> str:
    if interval is None:
        return formats.NOTHING
    low, high = (_signed(each, is_share=is_share) for each in (interval.lower, interval.upper))
    return f"{low.removesuffix(' points')} to {high}"


def _drawn(
    comparison: "statistics_pb2.Comparison", interval: "statistics_pb2.Interval | None", reach: float
) -> Drawn | None:
    if interval is None or not comparison.HasField("absolute_effect") or reach == 0:
        return None
    places = (interval.lower, comparison.absolute_effect, interval.upper)
    low, point, high = (round(50 + _HALF * place / reach, 2) for place in places)
    return Drawn(low, point, high)


def _verdict(interval: "statistics_pb2.Interval | None", metric: pb.Metric) -> str:
    if interval is None or interval.lower <= 0 <= interval.upper:
        return "unclear"
    return "better" if (interval.lower > 0) != metric.decrease_is_better else "worse"


def _reason(comparison: "statistics_pb2.Comparison", *, fixed: bool) -> str:
    return comparison.absent_reasons.get("interval" if fixed else "sequential", "")
