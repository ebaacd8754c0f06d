"""Metrics of forecasting itself, for MetricSourceService: how far any metric is from what was expected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.metrics.v1 import metrics_pb2 as pb

from services.forecasting.anomalies import messages
from services.forecasting.anomalies.calls import LEARNT_FROM
from services.forecasting.anomalies.detection import Found
from services.forecasting.anomalies.messages import Judging
from services.forecasting.series import Grid, units_before
from services.forecasting.sources import MetricKey, Sources
from shared.calendar import Interval
from shared.intervals import INTERVAL_NUMBERS, series_of
from shared.metric_source import check_known
from shared.timestamps import from_micros
from shared.validation import Violations, text

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

SCORE, GAP = "anomaly_score", "forecast_gap_ratio"
MAXIMUM_POINTS = 2_000
_INTERVALS = tuple(INTERVAL_NUMBERS)
_OTHERS = " Labels beside source and name are those of that metric."
METRICS = {
    each.name: each
    for each in (
        pb.MetricDescriptor(
            name=SCORE,
            definition="How many deviations a metric lies above what was expected from the points before it."
            + _OTHERS,
            unit="deviations",
            required_labels=["source", "name"],
            intervals=list(INTERVAL_NUMBERS.values()),
        ),
        pb.MetricDescriptor(
            name=GAP,
            definition="(value − expected) ÷ |expected|, expected from the points before it." + _OTHERS,
            unit="ratio",
            required_labels=["source", "name"],
            intervals=list(INTERVAL_NUMBERS.values()),
        ),
    )
}


@dataclass(frozen=True)
class MetricReader:
    """Reads the metrics of forecasting."""

    sources: Sources
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def read(self, query: pb.MetricQuery, path: str) -> pb.MetricSeries:
        """Answer a query; its fields are named by its path."""
        check_known(query.name, METRICS)
        violations = Violations()
        asked = series_of(violations, query, _INTERVALS, self.reporting_zone, MAXIMUM_POINTS)
        if query.group_property:
            violations.add("group_property", f"{query.name} cannot be broken down by a property")
        key = _key(violations, query, asked.interval, asked.zone)
        violations.raise_if_any(prefix=f"{path}.")
        unit = self.sources.descriptor(key).unit
        if not asked.units:
            return pb.MetricSeries(time_zone=asked.zone.key)
        learnt = units_before(asked.units[0][0], LEARNT_FROM[asked.interval], asked.interval, asked.zone)
        grid = self.sources.read(key, (*learnt, *asked.units), path).begun()
        found = messages.judge(grid, Judging(), is_count=messages.counts(unit, grid.values.tolist()))
        values = _values(query.name, grid, found)
        known = {start for start, _ in grid.units}
        return pb.MetricSeries(
            time_zone=asked.zone.key,
            points=[
                pb.MetricPoint(
                    start_time=from_micros(start),
                    value=values.get(start),
                    sample_size=int(start in values),
                    complete=start in known or end <= self.clock(),
                    absent_reason=""
                    if start in values
                    else "the metric's point has not begun or was not judged",
                )
                for start, end in asked.units
            ],
        )


def _key(violations: Violations, query: pb.MetricQuery, interval: Interval, zone: "ZoneInfo") -> MetricKey:
    """Return the metric whose distance is asked for; its own labels are what its source knows."""
    source, name = (
        text(violations, f"labels[{label}]", query.labels.get(label, ""), maximum=100)
        for label in ("source", "name")
    )
    others = {label: value for label, value in query.labels.items() if label not in {"source", "name"}}
    inner = pb.MetricQuery(
        name=name,
        labels=others,
        filters=query.filters,
        interval=INTERVAL_NUMBERS[interval],
        time_zone=zone.key,
    )
    return MetricKey(source, inner, interval, zone)


def _values(name: str, grid: Grid, found: Found) -> Mapping[int, float]:
    """Return the metric's value for each unit that has one."""
    values: dict[int, float] = {}
    for point in found.points:
        start = grid.units[point.at][0]
        if point.score is None or point.expected is None:
            continue
        if name == SCORE:
            values[start] = point.score
        elif point.expected:
            values[start] = (float(grid.values[point.at]) - point.expected) / abs(point.expected)
    return values
