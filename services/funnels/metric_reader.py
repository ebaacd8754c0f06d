"""Reads the metrics of funnels for MetricSourceService."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.metrics.v1 import metrics_pb2 as pb

from services.funnels.analysis.analyst import Analyst
from services.funnels.analysis.calls import kept_funnel
from services.funnels.analysis.questions import Scope, step_of
from services.funnels.counting import step_counts
from services.funnels.domain import Population
from services.funnels.rules import Entry
from shared import property_filters
from shared.calendar import Interval
from shared.intervals import INTERVAL_NUMBERS, series_of
from shared.metric_source import check_known, labels_of
from shared.timestamps import from_micros
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

    from services.funnels.analysis.analyst import Analysis
    from services.funnels.domain import Funnel

# Each point is matched for itself.
MAXIMUM_POINTS = 1_000
CONVERSION, STEP = "funnel_conversion_ratio", "funnel_step_ratio"
_INTERVALS = (Interval.HOUR, Interval.DAY, Interval.WEEK, Interval.MONTH)
METRICS = {
    each.name: each
    for each in (
        pb.MetricDescriptor(
            name=CONVERSION,
            definition="Of those who begin the funnel in the interval, the share that does its last step "
            "within the window, everybody by their best attempt that begins there.",
            unit="ratio",
            required_labels=["funnel_id"],
            intervals=[INTERVAL_NUMBERS[each] for each in _INTERVALS],
        ),
        pb.MetricDescriptor(
            name=STEP,
            definition="Of those who do the required step before, the share that does this step too (from 0, "
            "not the first), among those who begin the funnel in the interval.",
            unit="ratio",
            required_labels=["funnel_id", "step"],
            intervals=[INTERVAL_NUMBERS[each] for each in _INTERVALS],
        ),
    )
}


@dataclass(frozen=True)
class MetricReader:
    """Reads the metrics of funnels."""

    engine: "Engine"
    analyst: Analyst
    reporting_zone: "ZoneInfo"

    def read(self, query: pb.MetricQuery, path: str) -> pb.MetricSeries:
        """Answer a query; its fields are named by its path."""
        check_known(query.name, METRICS)
        violations = Violations()
        series = series_of(violations, query, _INTERVALS, self.reporting_zone, MAXIMUM_POINTS)
        labels = labels_of(violations, query.name, METRICS[query.name].required_labels, query.labels)
        property_filters.check(violations, "filters", query.filters)
        for field in ("group_property", "group_limit"):
            if getattr(query, field):
                violations.add(field, f"{query.name} has no break-down")
        step = _step(violations, labels)
        violations.raise_if_any(prefix=f"{path}.")
        funnel = kept_funnel(self.engine, labels["funnel_id"])
        _check(violations, query, funnel, step)
        violations.raise_if_any(prefix=f"{path}.")
        if not series.units:
            return pb.MetricSeries(time_zone=series.zone.key)
        further = tuple(each.SerializeToString(deterministic=True) for each in query.filters)
        whole = Scope((series.units[0][0], series.units[-1][1]), Entry.BEST, Population.ACTORS)
        loaded = self.analyst.load(funnel, whole, further)
        return pb.MetricSeries(
            time_zone=series.zone.key,
            points=[_point(loaded.beginning(unit), step) for unit in series.units],
        )


def _check(violations: Violations, query: pb.MetricQuery, funnel: "Funnel", step: int | None) -> None:
    """Check what depends on the funnel."""
    if step is not None:
        step_of(violations, "labels[step]", step, funnel, lost=False)
    if step == 0:
        violations.add("labels[step]", "the first step has no step before")
    room = property_filters.MAXIMUM_FILTERS - max(len(each.pattern.filters) for each in funnel.steps)
    if len(query.filters) > room:
        violations.add("filters", f"at most {room}, beside those of the funnel's steps")


def _step(violations: Violations, labels: dict[str, str]) -> int | None:
    """Return the step that is asked for; None for the whole funnel, and after a violation."""
    text = labels.get("step")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        violations.add("labels[step]", "must be the order of a step, from 0")
        return None
    return int(text)


def _point(analysis: "Analysis", step: int | None) -> pb.MetricPoint:
    start, end = analysis.scope.entries
    counts = step_counts(analysis.times, analysis.funnel)
    value, before = counts[-1].conversion_ratio, counts[0].users
    if step is not None:
        required = analysis.funnel.required_before(step)
        assert required is not None, "the first step was refused"
        value, before = counts[step].step_ratio, counts[required].users
    return pb.MetricPoint(
        start_time=from_micros(start),
        value=value,
        sample_size=before,
        complete=analysis.is_complete(end),
        absent_reason="nobody was at the step before" if value is None else "",
    )
